"""kopf's watches: whatever changes, the ServedModel that it belongs to is looked at. Nothing else happens here.

Only `on.event` handlers are used: they need no finalizer and write no annotation, so a deleted ServedModel goes at once
and a served object is never touched by kopf.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import aiohttp
import kopf
from kopf._cogs.clients.errors import APIClientError, APIError, APISessionClosed  # kopf gives them no public names
from kopf._cogs.clients.watching import WatchingError

from registry.kubernetes.resources import (
    DEPLOYMENTS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    INFERENCE_SERVICES,
    MODEL_REVISIONS,
    ROLLOUT_ACTIONS,
    SERVED_MODELS,
    SERVICES,
    Resource,
)
from registry.rollout.manifests import SERVED_MODEL_LABEL
from registry.watches import Watches
from registry.work_queue import Key

_log = logging.getLogger(__name__)

Enqueue = Callable[[Key, bool], None]
"""Told which ServedModel to look at, and whether somebody waits for it."""

_OWNED = (MODEL_REVISIONS, INFERENCE_SERVICES, HTTP_ROUTES, GRPC_ROUTES, SERVICES, DEPLOYMENTS)
WATCHED = (SERVED_MODELS, ROLLOUT_ACTIONS, *_OWNED)


# What kopf ends by where the API server does not answer, or not as it should: after a few tries of each request, at the
# first list above all. Where credentials are refused it says LoginError, caused by the refusal.
_FAULTS = (
    APIError,
    APISessionClosed,
    WatchingError,
    kopf.LoginError,
    aiohttp.ClientError,
    json.JSONDecodeError,
    OSError,
)
# A list whose next page is gone, a server that was too slow or is asked too much: to be begun anew, as what is no
# client's fault is. Another client error stays as it is until a person mends an account, a role or the CRDs.
_PASSING = (HTTPStatus.GONE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
# kopf that went well for so long is begun anew without delay.
_WELL_AFTER_SECONDS = 60.0


class _News:
    """Tells changes from what is only listed again, as a watch that is opened anew does every five minutes.

    Args:
        field: of the metadata, that tells: `generation`, for kinds whose status nobody writes but we, else
            `resourceVersion`.

    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._seen: dict[str, str] = {}

    def is_in(self, event: kopf.RawEvent) -> bool:
        """Tell whether an object was made, deleted, or changed."""
        metadata: Any = event["object"]["metadata"]
        uid, state = str(metadata.get("uid")), str(metadata.get(self._field))
        if event["type"] == "DELETED":
            self._seen.pop(uid, None)
            return True
        former, self._seen[uid] = self._seen.get(uid), state
        return former != state


class _NoEssence(kopf.DiffBaseStorage):
    """Keeps kopf from copying and comparing whole objects at each event, for handlers of changes that we have not."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


def handlers(enqueue: Enqueue, watches: Watches) -> kopf.OperatorRegistry:
    """Return kopf's handlers."""
    registry, of_specs, of_all = kopf.OperatorRegistry(), _News("generation"), _News("resourceVersion")

    async def on_served_model(name: str | None, namespace: str | None, event: kopf.RawEvent, **_: Any) -> None:
        if of_specs.is_in(event):
            enqueue(Key(str(namespace), str(name)), False)

    async def on_action(namespace: str | None, spec: kopf.Spec, event: kopf.RawEvent, **_: Any) -> None:
        if event["type"] != "DELETED" and "state" not in (event["object"].get("status") or {}):
            enqueue(Key(str(namespace), str(spec.get("servedModel"))), True)

    async def on_owned(namespace: str | None, labels: kopf.Labels, event: kopf.RawEvent, **_: Any) -> None:
        if (of_specs if event["object"].get("kind") == MODEL_REVISIONS.kind else of_all).is_in(event):
            enqueue(Key(str(namespace), labels[SERVED_MODEL_LABEL]), False)

    _on(registry, SERVED_MODELS, on_served_model)
    _on(registry, ROLLOUT_ACTIONS, on_action)
    for resource in _OWNED:
        _on(registry, resource, on_owned, labels={SERVED_MODEL_LABEL: kopf.PRESENT})
    kopf.on.login(registry=registry, id="service-account")(_login(kopf.login_with_service_account, watches))
    kopf.on.login(registry=registry, id="kubeconfig")(_login(kopf.login_with_kubeconfig, watches))
    return registry


def _login(way: Callable[..., kopf.ConnectionInfo | None], watches: Watches) -> Any:
    async def login(**arguments: Any) -> kopf.AiohttpSession | None:
        info = way(**arguments)
        return None if info is None else watches.session(info)

    return login


def _on(registry: kopf.OperatorRegistry, resource: Resource, handler: Any, **filters: Any) -> None:
    register = kopf.on.event(
        resource.group, resource.version, resource.plural, id=f"look/{resource.plural}", registry=registry, **filters
    )
    register(handler)


def watch_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: nothing is written, and a watch that is silent is opened anew."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoEssence()
    # A stream may freeze without an error: the server ends it, else the client does, else silence does.
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 90
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 10
    settings.networking.error_backoffs = (0.5, 1, 2, 4)
    # Else kopf kills this process so long after it ended by itself, though it was begun anew since.
    settings.process.ultimate_exiting_timeout = None
    for resource in _OWNED:
        settings.watching.label_selectors[resource.group, resource.version, resource.plural] = SERVED_MODEL_LABEL
    return settings


async def watch(
    enqueue: Enqueue,
    namespaces: Iterable[str],
    stop: asyncio.Event,
    ready: asyncio.Event,
    watches: Watches | None = None,
) -> None:
    """Watch until ``stop``; ``ready`` is set each time that kopf begins, and ``watches`` hears which are open.

    Where kopf ends because the API server is away it is begun anew, after a pause that gets longer.

    Raises:
        APIClientError, LoginError: the API server does not let us, or knows no such kind, until a person mends it.

    """
    namespaces, clock, pause = tuple(namespaces), asyncio.get_running_loop().time, _FIRST_PAUSE_SECONDS
    watches = watches or Watches(WATCHED, namespaces)
    while True:
        began = clock()
        try:
            await kopf.operator(
                registry=handlers(enqueue, watches),
                settings=watch_settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
                ready_flag=ready,
            )
        except _FAULTS as error:
            if _is_final(error) or stop.is_set():
                raise
            if clock() >= began + _WELL_AFTER_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            _log.warning("the watches ended, and all are begun anew: %s: %s", type(error).__name__, error)
        else:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            return
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _is_final(error: BaseException) -> bool:
    """Tell whether it would be the same if kopf were begun anew."""
    refusal = error.__cause__ if isinstance(error, kopf.LoginError) else error
    return isinstance(refusal, APIClientError) and refusal.status not in _PASSING
