"""Which of kopf's watches are open, heard from its HTTP session: kopf itself does not tell.

A watch is opened after its objects were listed, so an open one means that the first list is done, that the kind exists
and that we may read it. One that ends is opened anew, and counts as open until that fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from types import SimpleNamespace

import aiohttp
import kopf
from yarl import URL

from registry.kubernetes.resources import Resource

_NOT_YET = "it is not open yet"


class Watches:
    """The state of each watch; told by the event loop, read by any thread.

    Args:
        resources: what is watched.
        namespaces: where; empty for the whole cluster, and else there is a watch for each.

    """

    def __init__(self, resources: Iterable[Resource], namespaces: Iterable[str] = ()) -> None:
        self._lock = Lock()
        places = tuple(namespaces) or (None,)
        # What each watch is called, by the path of its list.
        self._names = {one.path(place): _called(one, place) for one in resources for place in places}
        self._faults: dict[str, str | None] = dict.fromkeys(self._names, _NOT_YET)

    def faults(self) -> dict[str, str]:
        """Return why each watch that is not open is not."""
        with self._lock:
            return {self._names[path]: fault for path, fault in self._faults.items() if fault is not None}

    def ailment(self) -> str | None:
        """Return what is wrong with watches, or None where all are open."""
        said = [f"{name}: {fault}" for name, fault in self.faults().items()]
        return f"watches that are not open: {'; '.join(said)}" if said else None

    def heard(self, url: URL, fault: str | None) -> None:
        """Note that a list or a watch was answered: with None well, else with what is wrong."""
        # The API server's own URL may have a path, too.
        path = next((path for path in self._names if url.path.endswith(path)), None)
        is_watch = "watch" in url.query
        if path is not None and (is_watch or fault is not None):
            with self._lock:
                self._faults[path] = fault

    def session(self, info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """Return the session that kopf would make of credentials, with us listening."""
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._on_end)
        trace.on_request_exception.append(self._on_exception)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            trust_env=info.trust_env,
            trace_configs=[trace],
        )
        return _Session(
            server=info.server,
            priority=info.priority,
            default_namespace=info.default_namespace,
            expiration=info.expiration,
            credentials=info,
            aiohttp_session=session,
        )

    async def _on_end(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, answered: aiohttp.TraceRequestEndParams
    ) -> None:
        status = answered.response.status
        self.heard(answered.url, None if status < 300 else f"the API server answers {status}")

    async def _on_exception(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, failed: aiohttp.TraceRequestExceptionParams
    ) -> None:
        self.heard(failed.url, f"the API server does not answer: {type(failed.exception).__name__}")


def _called(resource: Resource, namespace: str | None) -> str:
    return resource.plural if namespace is None else f"{resource.plural} in {namespace}"


@dataclass(frozen=True, kw_only=True)
class _Session(kopf.AiohttpSession):
    """Equal to another of the same credentials, so that kopf does not take refused ones for new."""

    credentials: kopf.ConnectionInfo
    aiohttp_session: aiohttp.ClientSession = field(compare=False)
