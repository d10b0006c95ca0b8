"""Changes of phase, posted to a webhook. A receiver that is slow or away holds up nobody and may miss some."""

from __future__ import annotations

import logging
from base64 import b64decode
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
_TIMEOUT_SECONDS = 5.0
_TRIES = 3


@dataclass(frozen=True)
class Notification:
    """A document, and the Secret that tells where it goes."""

    namespace: str
    secret: str
    document: dict[str, Any]


class Notifier:
    """Posts notifications from a thread of its own.

    Args:
        api: reads the Secret, when it is needed.
        transport: for tests.

    """

    def __init__(self, api: KubernetesApi, transport: httpx.BaseTransport | None = None) -> None:
        self._api = api
        self._waiting: Queue[Notification] = Queue(_MOST_WAITING)
        self._client = httpx.Client(
            timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False, transport=transport
        )

    def send(self, notification: Notification) -> None:
        """Have a notification posted; never waits."""
        try:
            self._waiting.put_nowait(notification)
        except Full:
            _log.warning("%d notifications wait already: one is dropped", _MOST_WAITING)

    def run(self, stop: Event) -> None:
        """Post until ``stop``."""
        while not stop.is_set():
            try:
                notification = self._waiting.get(timeout=1.0)
            except Empty:
                continue
            self.post(notification, stop)
        self._client.close()

    def post(self, notification: Notification, stop: Event) -> bool:
        """Post a notification, at most three times; tell whether it was taken."""
        try:
            secret = self._api.get(SECRETS, notification.namespace, notification.secret)
            url = b64decode((secret or {}).get("data", {}).get("url", "")).decode().strip()
        except (KubernetesError, ValueError) as error:
            _log.warning("the webhook's Secret cannot be read: %s", error)
            return False
        if not url.startswith(("http://", "https://")):
            _log.warning("Secret %s/%s has no http(s) url", notification.namespace, notification.secret)
            return False
        for attempt in range(_TRIES):
            try:
                answer = self._client.post(url, json=notification.document)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                said = type(error).__name__  # the URL is a secret, and an error may repeat it
            else:
                if answer.is_success:
                    return True
                said = str(answer.status_code)
            if stop.wait(2.0**attempt):
                return False
        _log.warning("the webhook of %s/%s took nothing: %s", notification.namespace, notification.secret, said)
        return False
