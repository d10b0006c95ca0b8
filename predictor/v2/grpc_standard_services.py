"""``grpc.health.v1`` and reflection as handlers for which a message that cannot be read is the client's fault.

As the libraries register them, such a message ends in UNKNOWN and a traceback in the log, and anybody who reaches the
port may send it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from predictor.v2.grpc_health import SERVICE as HEALTH
from predictor.v2.grpc_health import HealthServicer

_HealthRequest = health_pb2.HealthCheckRequest
_ReflectionRequest = reflection_pb2.ServerReflectionRequest


def standard_services(health: HealthServicer, described: str) -> tuple[grpc.GenericRpcHandler, ...]:
    """Return the handlers of health and of reflection, which describes the service ``described`` and both of these."""
    describing = ReflectionServicer([described, HEALTH, reflection.SERVICE_NAME])

    async def check(message: bytes, context: grpc.aio.ServicerContext) -> Any:
        return await health.Check(await _read(_HealthRequest, message, context), context)

    async def watch(message: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        async for answer in health.Watch(await _read(_HealthRequest, message, context), context):
            yield answer

    async def describe(messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        asked = _read_all(_ReflectionRequest, messages, context)
        async for answer in describing.ServerReflectionInfo(asked, context):
            yield answer

    encoded = health_pb2.HealthCheckResponse.SerializeToString
    return (
        grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=encoded),
                "Watch": grpc.unary_stream_rpc_method_handler(watch, response_serializer=encoded),
            },
        ),
        grpc.method_handlers_generic_handler(
            reflection.SERVICE_NAME,
            {
                "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                    describe, response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString
                )
            },
        ),
    )


async def _read(kind: Any, message: bytes, context: grpc.aio.ServicerContext) -> Any:
    """Return a message; INVALID_ARGUMENT ends the call if it is none of its kind."""
    try:
        return kind.FromString(message)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the message is no {kind.DESCRIPTOR.full_name}")


async def _read_all(kind: Any, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
    async for message in messages:
        yield await _read(kind, message, context)
