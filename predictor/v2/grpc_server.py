"""The gRPC server: GRPCInferenceService, grpc.health.v1 and reflection on one port, on the event loop."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from predictor.errors import CannotListen
from predictor.v2.grpc_calls import SERVICE, GrpcCall, GrpcCalls, GrpcReply
from predictor.v2.grpc_health import SERVICE as HEALTH
from predictor.v2.grpc_health import HealthServicer

_log = logging.getLogger(__name__)

# One connection's calls at a time; more wait at the client.
_STREAMS = 1024
_KEEPALIVE_MS = 60_000
Handler = Callable[[bytes, "aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


class GrpcServer:
    """Serves calls until it is stopped.

    Args:
        calls: what answers.
        is_ready: tells whether the server is ready, for grpc.health.
        max_message_bytes: the largest message, in and out.

    """

    def __init__(self, calls: GrpcCalls, is_ready: Callable[[], bool], *, max_message_bytes: int) -> None:
        self._calls = calls
        self._is_ready = is_ready
        self._max_message_bytes = max_message_bytes
        self._server: aio.Server | None = None
        self._stopping = False

    async def start(self, address: str) -> int:
        """Listen on ``address``, such as ``127.0.0.1:8001``; port 0 takes any free one. Returns the port.

        Raises:
            CannotListen: the address is taken, or none of this machine.

        """
        server = aio.server(options=self._options())
        server.add_generic_rpc_handlers((_Handlers(self._calls),))
        servicer = HealthServicer(lambda: self._is_ready() and not self._stopping, [SERVICE])
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        reflection.enable_server_reflection([SERVICE, HEALTH, reflection.SERVICE_NAME], server)
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
        self._stopping = True
        if self._server is not None:
            await self._server.stop(grace_seconds)

    def _options(self) -> list[tuple[str, Any]]:
        return [
            # By default two servers may listen on one port, and each gets some of the calls.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_send_message_length", self._max_message_bytes),
            ("grpc.max_concurrent_streams", _STREAMS),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ]


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library's classes have no types
    """Finds a method's handler. Messages are left as bytes: reading a large one must not hold the event loop."""

    def __init__(self, calls: GrpcCalls) -> None:
        self._handlers = {
            f"/{SERVICE}/{name}": grpc.unary_unary_rpc_method_handler(_handler(calls, name)) for name in calls.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Return what handles a call."""
        return self._handlers.get(handler_call_details.method)


def _handler(calls: GrpcCalls, method: str) -> Handler:
    async def handle(message: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        metadata = dict(context.invocation_metadata() or ())
        reply = await calls.answer(GrpcCall(method, message, metadata, _client_of(context.peer())))
        return _told(reply, context)

    return handle


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
