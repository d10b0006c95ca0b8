"""The routes beside infer: health, metadata, readiness, the repository's index, and V1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from predictor.hotpath.exchange import HttpRequest, Scope
from predictor.problems import Answer
from predictor.threads import Threads
from predictor.v2 import v1
from predictor.v2.complaints import REFUSALS, malformed
from predictor.v2.errors import BadInferRequest, NotReady, RepositoryIsReadOnly, error_answer, read_only
from predictor.v2.plane import Plane
from predictor.v2.request_headers import refuse_compression

_encode = msgspec.json.Encoder().encode
_LARGE_BODY = 16 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    model: str = ""
    version: str | None = None


Call = Callable[[HttpRequest, Target], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class ControlRoute:
    """A route that asks the plane."""

    method: str
    template: str
    scope: Scope | None
    target: Target
    call: Call

    def quick(self, request: HttpRequest) -> Answer | None:  # noqa: ARG002 - the shape of a route
        """Leave it to :meth:`answer`."""
        return None

    async def answer(self, request: HttpRequest) -> Answer:
        """Answer a request; raises what :meth:`error_answer` turns into an answer."""
        return await self.call(request, self.target)

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        """Return what tells the client about ``error``."""
        return error_answer(error, request_id)


class _IndexRequest(msgspec.Struct):
    ready: bool = False


_decode_index = msgspec.json.Decoder(_IndexRequest).decode


class ControlRoutes:
    """Answers them.

    Args:
        plane: what knows.
        threads: where large bodies are decoded.

    """

    def __init__(self, plane: Plane, threads: Threads) -> None:
        self._plane = plane
        self._threads = threads

    async def live(self, _request: HttpRequest, _target: Target) -> Answer:
        """Answer that the server lives."""
        return _document({"live": True})

    async def ready(self, _request: HttpRequest, _target: Target) -> Answer:
        """Answer whether the server is ready; NotReady if not."""
        if not await self._plane.ready():
            raise NotReady("the server is not ready: GET /health/ready says what it waits for")
        return _document({"ready": True})

    async def server_metadata(self, _request: HttpRequest, _target: Target) -> Answer:
        """Answer what the server is."""
        return _document(self._plane.metadata())

    async def models(self, _request: HttpRequest, _target: Target) -> Answer:
        """Answer the models' names."""
        return _document({"models": await self._plane.model_names()})

    async def model_metadata(self, _request: HttpRequest, target: Target) -> Answer:
        """Answer what a model takes and gives."""
        return _document(await self._plane.model_metadata(target.model, target.version))

    async def model_ready(self, _request: HttpRequest, target: Target) -> Answer:
        """Answer whether a model, or one of its versions, can serve; NotReady if not."""
        if not await self._plane.model_ready(target.model, model_version=target.version):
            version = f"version {target.version} of " if target.version else ""
            raise NotReady(f"{version}model {target.model!r} is not ready: GET /health says why")
        return _document({"name": target.model, "ready": True})

    async def index(self, request: HttpRequest, _target: Target) -> Answer:
        """Answer all versions, or with ``{"ready": true}`` those that can serve."""
        refuse_compression(request.headers)
        try:
            asked = _decode_index(request.body or b"{}")
        except REFUSALS as fault:
            raise BadInferRequest(
                f'{malformed(fault, request.body)}; the body is {{"ready": true}} for what can serve, or empty'
            ) from fault
        return _document(await self._plane.index(ready_only=asked.ready))

    async def load(self, _request: HttpRequest, target: Target) -> Answer:
        """Refuse."""
        raise RepositoryIsReadOnly(read_only(target.model, "loaded"))

    async def unload(self, _request: HttpRequest, target: Target) -> Answer:
        """Refuse."""
        raise RepositoryIsReadOnly(read_only(target.model, "unloaded"))

    async def predict(self, request: HttpRequest, target: Target) -> Answer:
        """Answer V1's predict."""
        refuse_compression(request.headers)
        plane = self._plane
        signature = await plane.signature(target.model, target.version)
        if len(request.body) < _LARGE_BODY:
            body = v1.decode(request.body)
        else:
            body = await self._threads.compute(v1.decode_bounded, request.body, signature)
        headers = {"x-request-id": request.request_id}
        answer, _ = await plane.infer(target.model, body, headers, model_version=target.version)
        return _document(answer)


def _document(document: Any) -> Answer:
    return Answer(200, _encode(document))
