"""A reverse proxy before a real API server, which breaks what passes through it.

What happens to a request follows from the seed of its namespace and from how many came before it. Requests that belong
to no namespace with bad weather pass unharmed.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from threading import Event, Thread

import httpx2 as httpx
from aiohttp import web
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import SingleConfig

_READS = ("429", "500", "cut", "silence")
_LISTS = (*_READS, "410")
_WRITES = ("409", "429", "500", "cut", "silence", "lost answer")
_STATUS = {
    "409": (409, "Conflict", "the object has been modified; please apply your changes to the latest version"),
    "410": (410, "Expired", "The provided continue parameter is too old"),
    "429": (429, "TooManyRequests", "too many requests, please try again later"),
    "500": (500, "InternalError", "etcdserver: request timed out"),
}
_HOP_BY_HOP = {"connection", "content-encoding", "content-length", "host", "keep-alive", "transfer-encoding"}
# Longer than the controllers here wait for an answer.
SILENCE_SECONDS = 1.5


@dataclass
class Weather:
    """What is done to the requests of a namespace.

    Args:
        chooser: draws it.
        calls: the share of requests that fail.
        events: the share of watch events that are dropped, doubled or held up, or end the watch.
        done: how often each fault happened.

    """

    chooser: random.Random
    calls: float
    events: float
    done: Counter[str] = field(default_factory=Counter)

    def for_call(self, request: web.Request) -> str | None:
        """Draw what is done to a request."""
        if self.chooser.random() >= self.calls:
            return None
        kinds = _WRITES if request.method != "GET" else (_READS if _names_one(request.path) else _LISTS)
        return self._noted(self.chooser.choice(kinds))

    def for_event(self) -> str | None:
        """Draw what is done to a watch event."""
        if self.chooser.random() >= self.events:
            return None
        return self._noted(self.chooser.choice(("dropped", "doubled", "held up", "watch cut", "watch 410")))

    def _noted(self, kind: str) -> str:
        self.done[kind] += 1
        return kind


class Proxy:
    """The proxy, in a thread of its own.

    Args:
        upstream: the API server, and how it is reached.

    """

    def __init__(self, upstream: SingleConfig) -> None:
        self._upstream, self.weather = upstream, dict[str, Weather]()
        self.loop = asyncio.new_event_loop()
        self._ready, self.url = Event(), ""
        self._thread = Thread(target=self.loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _start(self) -> None:
        limits = httpx.Timeout(30.0, read=None, pool=None)
        self._client = AsyncClient(self._upstream, ConnectionParams(timeout=limits, trust_env=False))
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._client.aclose()
        # Requests whose client is gone are still being answered.
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        weather = self.weather.get(_namespace(request.path))
        if "watch" in request.query:
            return await self._watch(request, weather)
        fault = None if weather is None else weather.for_call(request)
        if fault in _STATUS:
            return _refused(fault)
        if fault == "silence":
            await asyncio.sleep(SILENCE_SECONDS)
        if fault in ("cut", "silence"):
            return _cut(request)
        answer = await self._client.request(
            request.method,
            request.path_qs,
            headers=_passed(request.headers),
            content=await request.read(),
        )
        if fault == "lost answer":
            return _cut(request)
        return web.Response(status=answer.status_code, body=answer.content, headers=_passed(answer.headers))

    async def _watch(self, request: web.Request, weather: Weather | None) -> web.StreamResponse:
        async with self._client.stream("GET", request.path_qs, headers=_passed(request.headers)) as answer:
            response = web.StreamResponse(status=answer.status_code, headers=_passed(answer.headers))
            await response.prepare(request)
            try:
                async for line in _disturbed(answer.aiter_lines(), weather):
                    await response.write(line.encode() + b"\n")
            except (ConnectionError, httpx.HTTPError):
                return response  # the watcher has gone, or everything ends
            return response


async def _disturbed(lines: AsyncIterator[str], weather: Weather | None) -> AsyncIterator[str]:
    """Yield the events of a watch, but for those that something happens to."""
    async for line in lines:
        fault = None if weather is None else weather.for_event()
        if fault == "watch cut":
            return
        if fault == "watch 410":
            code, _, message = _STATUS["410"]
            status = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": "Expired", "message": message}
            yield json.dumps({"type": "ERROR", "object": status})
            return
        if fault == "held up":
            await asyncio.sleep(0.5)
        if fault != "dropped":
            yield line
        if fault == "doubled":
            yield line


def _refused(fault: str) -> web.Response:
    code, reason, message = _STATUS[fault]
    headers = {"Retry-After": "1"} if code == 429 else {}
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response(status | {"message": message}, status=code, headers=headers)


def _cut(request: web.Request) -> web.Response:
    """End the connection instead of an answer."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


def _passed(headers: object) -> dict[str, str]:
    return {name: value for name, value in dict(headers).items() if name.lower() not in _HOP_BY_HOP}  # type: ignore[call-overload]


def _namespace(path: str) -> str:
    return path.partition("/namespaces/")[2].partition("/")[0]


def _names_one(path: str) -> bool:
    """Tell whether a path is one object's: something comes after namespaces/{namespace}/{plural}."""
    return path.partition("/namespaces/")[2].count("/") > 1
