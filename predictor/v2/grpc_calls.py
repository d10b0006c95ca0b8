"""The methods of ``GRPCInferenceService``, without a transport: a message's bytes in, a reply out, never an exception.

Everything that every call gets stands in :class:`GrpcCalls` once: an id, admission, the error's code and sentence, and
what is told to who observes. A call is admitted before its message is received, so that nobody without a token can
have the server keep one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from contract import json_logs
from predictor.errors import NotServed
from predictor.hotpath.admission import Admission, Admitted
from predictor.hotpath.exchange import Scope
from predictor.hotpath.request_ids import RequestIds
from predictor.models.version_reader import LoadedVersion
from predictor.v2.errors import RepositoryIsReadOnly, error_answer, read_only, sentence_of, status_of
from predictor.v2.grpc_bounds import check_fields
from predictor.v2.grpc_codec import decoded, lone_record, lone_response, outputs_of, response, rows_of
from predictor.v2.inference import Inference
from predictor.v2.plane import Plane

_log = logging.getLogger(__name__)
SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
REQUEST_ID = "x-request-id"
# Up to here a message takes less than a thread's change costs: some 100 rows of 8 features.
_QUICK_BYTES = 16 * 1024

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}

# What makes sense of a connection by HTTP alone.
_HTTP_ALONE = ("connection", "allow")


@dataclass(frozen=True, slots=True)
class GrpcCall:
    """A call.

    Args:
        method: the method's name, such as ``ModelInfer``.
        receive: receives its message, as bytes.
        metadata: the call's metadata, names in lower case.
        client: the peer's address.

    """

    method: str
    receive: Callable[[], Awaitable[bytes]]
    metadata: dict[str, str | bytes]
    client: str


@dataclass(frozen=True, slots=True)
class GrpcReply:
    """What a call is answered: a message, or a code with a sentence; ``metadata`` goes after either."""

    message: bytes
    metadata: tuple[tuple[str, str], ...]
    code: grpc.StatusCode = grpc.StatusCode.OK
    detail: str = ""


class GrpcObserver(Protocol):
    """Takes note of calls."""

    def begin(self, call: GrpcCall, request_id: str) -> object:
        """Note that a call begins; what is returned comes back in :meth:`end`."""

    def end(self, call: GrpcCall, noted: object, code: grpc.StatusCode, seconds: float) -> None:
        """Note what it was answered, and after how long."""


@dataclass(frozen=True, slots=True)
class _Method:
    scope: Scope | None
    answer: Callable[[bytes, str], Awaitable[bytes]]


class GrpcCalls:
    """Answers calls, on the event loop.

    Args:
        inference: what scores.
        plane: what knows about the server and its models.
        admission: lets calls pass.
        observer: None where nothing is to be noted.

    """

    def __init__(
        self, inference: Inference, plane: Plane, admission: Admission, observer: GrpcObserver | None = None
    ) -> None:
        self._inference = inference
        self._plane = plane
        self._admission = admission
        self._observer = observer
        self._ids = RequestIds()
        self._methods = self._table()

    @property
    def methods(self) -> Sequence[str]:
        """The names of the service's methods."""
        return tuple(self._methods)

    async def answer(self, call: GrpcCall) -> GrpcReply:
        """Answer a call."""
        started = self._inference.clock()
        given = call.metadata.get(REQUEST_ID)
        request_id = self._ids.take(given.encode() if isinstance(given, str) else given)
        json_logs.request_id.set(request_id)
        noted = self._observer.begin(call, request_id) if self._observer is not None else None
        code = grpc.StatusCode.CANCELLED  # unless there is a reply: the client has gone, or the server ends
        try:
            reply = await self._reply(call, request_id)
            code = reply.code
        finally:
            if self._observer is not None:
                self._observer.end(call, noted, code, self._inference.clock() - started)
        return reply

    async def _reply(self, call: GrpcCall, request_id: str) -> GrpcReply:
        method = self._methods[call.method]
        metadata: tuple[tuple[str, str], ...] = ((REQUEST_ID, request_id),)
        try:
            admitted = await self._admit(call, method.scope)
            if admitted is not None and admitted.headers:
                metadata += tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in admitted.headers)
            message = await method.answer(await call.receive(), request_id)
        except Exception as error:  # noqa: BLE001 - the outermost place: it is logged, and the client told INTERNAL
            return _refusal(error, call.method, request_id, metadata)
        return GrpcReply(message, metadata)

    async def _admit(self, call: GrpcCall, scope: Scope | None) -> Admitted | None:
        if scope is None:
            return None
        given = call.metadata.get("authorization")
        authorization = given.encode() if isinstance(given, str) else given
        admitted = self._admission.quick(authorization, scope, call.client)
        return admitted or await self._admission.full(authorization, scope, call.client)

    def _table(self) -> dict[str, _Method]:
        return {
            "ServerLive": _Method(None, self._server_live),
            "ServerReady": _Method(None, self._server_ready),
            "ServerMetadata": _Method("models:read", self._server_metadata),
            "ModelReady": _Method("models:read", self._model_ready),
            "ModelMetadata": _Method("models:read", self._model_metadata),
            "ModelInfer": _Method("telemetry:score", self._infer),
            "RepositoryModelLoad": _Method("models:read", self._load),
            "RepositoryModelUnload": _Method("models:read", self._unload),
        }

    async def _infer(self, message: bytes, request_id: str) -> bytes:
        started = self._inference.clock()
        is_small = len(message) <= _QUICK_BYTES
        threads = self._inference.threads
        request = decoded(pb.ModelInferRequest, message) if is_small else await threads.compute(_bounded, message)
        model, version = request.model_name, request.model_version or None
        loaded = self._inference.resident(model, version) or await self._inference.version(model, version)
        if not is_small:
            return await threads.compute(self._scored, request, loaded, started, request_id)
        values = lone_record(request)
        if values is None or len(values) != loaded.scorer.n_features:
            return self._scored(request, loaded, started, request_id)
        decision = self._inference.record(loaded, values, started=started, request_id=request_id, protocol="v2-grpc")
        return lone_response(loaded.model, loaded.version, request.id, decision)

    def _scored(self, request: Any, loaded: LoadedVersion, started: float, request_id: str) -> bytes:
        rows = rows_of(request, self._inference.signature(loaded))
        outputs = outputs_of(request)
        decision = self._inference.rows(loaded, rows, started=started, request_id=request_id, protocol="v2-grpc")
        return response(loaded.model, loaded.version, request.id, outputs, decision)

    async def _server_live(self, _message: bytes, _request_id: str) -> bytes:
        return _encoded(pb.ServerLiveResponse(live=True))

    async def _server_ready(self, _message: bytes, _request_id: str) -> bytes:
        return _encoded(pb.ServerReadyResponse(ready=await self._plane.ready()))

    async def _server_metadata(self, _message: bytes, _request_id: str) -> bytes:
        return _encoded(pb.ServerMetadataResponse(**self._plane.metadata()))

    async def _model_ready(self, message: bytes, _request_id: str) -> bytes:
        request = decoded(pb.ModelReadyRequest, message)
        try:
            ready = await self._plane.model_ready(request.name, model_version=request.version or None)
        except NotServed:
            ready = False
        return _encoded(pb.ModelReadyResponse(ready=ready))

    async def _model_metadata(self, message: bytes, _request_id: str) -> bytes:
        request = decoded(pb.ModelMetadataRequest, message)
        document = await self._plane.model_metadata(request.name, request.version or None)
        document.pop("parameters", None)  # gRPC's message has no place for them
        return _encoded(pb.ModelMetadataResponse(**document))

    async def _load(self, message: bytes, _request_id: str) -> bytes:
        raise RepositoryIsReadOnly(read_only(decoded(pb.RepositoryModelLoadRequest, message).model_name, "loaded"))

    async def _unload(self, message: bytes, _request_id: str) -> bytes:
        raise RepositoryIsReadOnly(read_only(decoded(pb.RepositoryModelUnloadRequest, message).model_name, "unloaded"))


def _bounded(message: bytes) -> Any:
    check_fields(message)
    return decoded(pb.ModelInferRequest, message)


def _encoded(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


def _refusal(error: Exception, method: str, request_id: str, metadata: tuple[tuple[str, str], ...]) -> GrpcReply:
    """Return the reply that tells the client about ``error``; headers of its answer by HTTP become metadata too."""
    code = code_of(error)
    if code is grpc.StatusCode.INTERNAL:
        _log.error("%s failed", method, exc_info=error)
    headers = error_answer(error, request_id).headers
    told = [(name.lower(), value) for name, value in headers.items() if name.lower() not in _HTTP_ALONE]
    return GrpcReply(b"", (*metadata, *told), code, sentence_of(error, request_id))


def code_of(error: Exception) -> grpc.StatusCode:
    """Return the code of an error."""
    if isinstance(error, RepositoryIsReadOnly):
        return grpc.StatusCode.FAILED_PRECONDITION
    return _CODES.get(status_of(error), grpc.StatusCode.INTERNAL)
