"""Changes of phase, posted to a webhook. A receiver that is slow or away holds up nobody and may miss some."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event
from typing import Any

import httpx2 as httpx

from registry.errors import KubernetesError
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import SECRETS

_log = logging.getLogger(__name__)

_MOST_WAITING = 1000
_TIMEOUT_SECONDS = 10.0
_TRIES = 3
# A receiver that took nothing within so many seconds is tried once: it must not keep the others' notifications waiting.
_DOUBTED_FOR_SECONDS = 60.0
_LOOK_AROUND_SECONDS = 1.0


@dataclass(frozen=True)
class Notification:
    """A document, and the Secret that tells where it goes."""

    namespace: str
    secret: str
    document: dict[str, Any]


class Notifier:
    """Posts notifications; several threads may run it, and share what waits.

    Args:
        api: reads the Secret, when it is needed.
        clock: seconds, that never go back.
        transport: for tests.

    """

    def __init__(
        self, api: KubernetesApi, clock: Callable[[], float], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._api, self._clock, self._transport = api, clock, transport
        self._waiting: Queue[Notification] = Queue(_MOST_WAITING)
        self._failed_at: dict[tuple[str, str], float] = {}

    def send(self, notification: Notification) -> None:
        """Have a notification posted; never waits."""
        try:
            self._waiting.put_nowait(notification)
        except Full:
            _log.warning("%d notifications wait already: one is dropped", _MOST_WAITING)

    def run(self, stop: Event, beat: Callable[[], None] = lambda: None) -> None:
        """Post until ``stop``; ``beat`` is told that it goes round."""
        while not stop.is_set():
            beat()
            try:
                notification = self._waiting.get(timeout=_LOOK_AROUND_SECONDS)
            except Empty:
                continue
            try:
                self.post(notification, stop)
            except Exception as error:  # noqa: BLE001 - whatever a URL brings about, the next one may be good
                # Not the error itself: it may repeat the URL, which is a secret.
                _log.warning("%s: nothing could be posted: %s", _named(notification), type(error).__name__)

    def post(self, notification: Notification, stop: Event) -> bool:
        """Post a notification, at most three times; tell whether it was taken."""
        try:
            secret = self._api.get(SECRETS, notification.namespace, notification.secret)
            url = b64decode((secret or {}).get("data", {}).get("url", "")).decode().strip()
        except (KubernetesError, ValueError) as error:
            _log.warning("the webhook's Secret cannot be read: %s", error)
            return False
        if not url.startswith(("http://", "https://")):
            _log.warning("%s has no http(s) url", _named(notification))
            return False
        receiver = (notification.namespace, notification.secret)
        said = self._try(url, notification.document, self._tries(receiver), stop)
        if said is None:
            self._failed_at.pop(receiver, None)
            return True
        self._failed_at[receiver] = self._clock()
        _log.warning("the webhook of %s took nothing: %s", _named(notification), said)
        return False

    def _tries(self, receiver: tuple[str, str]) -> int:
        failed_at = self._failed_at.get(receiver)
        return _TRIES if failed_at is None or self._clock() >= failed_at + _DOUBTED_FOR_SECONDS else 1

    def _try(self, url: str, document: dict[str, Any], tries: int, stop: Event) -> str | None:
        """Post so many times at most; return what the receiver said instead of taking it."""
        for attempt in range(tries):
            if attempt and stop.wait(2.0 ** (attempt - 1)):
                break
            try:
                answer = asyncio.run(self._ask(url, document))
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                said = type(error).__name__  # the URL is a secret, and an error may repeat it
            else:
                if answer.is_success:
                    return None
                said = str(answer.status_code)
        return said

    async def _ask(self, url: str, document: dict[str, Any]) -> httpx.Response:
        """Return the head of an answer: a body may be endless, and nobody looks at it."""
        client = httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, transport=self._transport
        )
        async with asyncio.timeout(_TIMEOUT_SECONDS), client, client.stream("POST", url, json=document) as answer:
            return answer


def _named(notification: Notification) -> str:
    return f"Secret {notification.namespace}/{notification.secret}"
