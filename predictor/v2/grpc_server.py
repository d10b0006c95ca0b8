"""The gRPC server: GRPCInferenceService, grpc.health.v1 and reflection on one port, on the event loop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from predictor.errors import CannotListen
from predictor.security.connection_limits import ConnectionLimits
from predictor.v2.errors import BadInferRequest
from predictor.v2.grpc_calls import SERVICE, GrpcCall, GrpcCalls, GrpcReply
from predictor.v2.grpc_health import HealthServicer
from predictor.v2.grpc_standard_services import standard_services

_log = logging.getLogger(__name__)

# One connection's calls at a time; more wait at the client.
_STREAMS = 1024
_KEEPALIVE_MS = 60_000
Handler = Callable[[object, "aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


class GrpcServer:
    """Serves calls until it is stopped.

    Args:
        calls: what answers.
        is_ready: tells whether the server is ready, for grpc.health.
        max_message_bytes: the largest message, in and out.
        limits: of connections and metadata, as over HTTP.
        connection_seconds: after about so long (a tenth more or less) a client is told to take a new connection, while
            its calls on the old one go on; 0 for never. It is how clients turn away from a server that will stop: when
            :meth:`stop` tells them, the library fails the calls that are already on their way.

    """

    def __init__(
        self,
        calls: GrpcCalls,
        is_ready: Callable[[], bool],
        *,
        max_message_bytes: int,
        limits: ConnectionLimits | None = None,
        connection_seconds: float = 0.0,
    ) -> None:
        self._calls = calls
        self._max_message_bytes = max_message_bytes
        self._limits = limits or ConnectionLimits()
        self._connection_seconds = connection_seconds
        self._server: aio.Server | None = None
        self._health = HealthServicer(is_ready, [SERVICE])

    async def start(self, address: str) -> int:
        """Listen on ``address``, such as ``127.0.0.1:8001``; port 0 takes any free one. Returns the port.

        Raises:
            CannotListen: the address is taken, or none of this machine.

        """
        server = aio.server(options=self._options())
        server.add_generic_rpc_handlers((_Handlers(self._calls),))
        server.add_generic_rpc_handlers(standard_services(self._health, SERVICE))
        try:
            port: int = server.add_insecure_port(address)
        except RuntimeError as error:
            raise CannotListen(
                f"cannot listen on {address} for gRPC: stop what uses it, or set TELLTALE_GRPC_PORT to another port"
            ) from error
        await server.start()
        self._server = server
        _log.info("listening on grpc://%s:%d", address.rpartition(":")[0], port)
        return port

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and let those under way end within ``grace_seconds``."""
        self._health.stop()
        if self._server is not None:
            await self._server.stop(grace_seconds)

    def _options(self) -> list[tuple[str, Any]]:
        age = [("grpc.max_connection_age_ms", int(self._connection_seconds * 1000))] if self._connection_seconds else []
        return [
            *age,
            # By default two servers may listen on one port, and each gets some of the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_send_message_length", self._max_message_bytes),
            ("grpc.max_metadata_size", self._limits.header_bytes),
            ("grpc.max_allowed_incoming_connections", self._limits.connections),
            # Until the client's HTTP/2 settings have come; the library's own patience is two minutes.
            ("grpc.server_handshake_timeout_ms", int(self._limits.header_seconds * 1000)),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library's classes have no types
    """Finds a method's handler. Messages are left as bytes: reading a large one must not hold the event loop."""

    def __init__(self, calls: GrpcCalls) -> None:
        self._handlers = {
            # On the wire a call with one message is a stream of one. Here it is received only when it is asked for.
            f"/{SERVICE}/{name}": grpc.stream_unary_rpc_method_handler(_handler(calls, name))
            for name in calls.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return what handles a call."""
        return self._handlers.get(handler_call_details.method)


def _handler(calls: GrpcCalls, method: str) -> Handler:
    async def handle(_stream: object, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        async def receive() -> bytes:
            message: bytes = await context.read()
            if message is aio.EOF:
                raise BadInferRequest("the call ended before its message was complete")
            return message

        reply = await calls.answer(GrpcCall(method, receive, _metadata_of(context), _client_of(context.peer())))
        return _told(reply, context)

    return handle


def _metadata_of(context: aio.ServicerContext[bytes, bytes]) -> dict[str, str | bytes]:
    """Return the call's metadata; of several tokens all in one, which nobody takes (as over HTTP)."""
    pairs = list(context.invocation_metadata() or ())
    metadata = dict(pairs)
    if len(metadata) != len(pairs) and "authorization" in metadata:
        metadata["authorization"] = ", ".join(str(value) for name, value in pairs if name == "authorization")
    return metadata


def _told(reply: GrpcReply, context: aio.ServicerContext[bytes, bytes]) -> bytes:
    context.set_trailing_metadata(reply.metadata)
    if reply.code is not grpc.StatusCode.OK:
        context.set_code(reply.code)
        context.set_details(reply.detail)
    return reply.message


def _client_of(peer: str) -> str:
    """Return the address in gRPC's name of a peer, such as ``ipv4:127.0.0.1:43210`` or ``ipv6:%5B::1%5D:43210``."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].removeprefix("%5B").removesuffix("%5D").strip("[]")
