"""``grpc.health.v1``: the server's readiness, for probes and load balancers that speak gRPC.

Watchers look at the readiness several times a second. The servicer that comes with the library forgets its other
watchers when one of them leaves. When the server stops, watchers are told so and let go: one that stays would hold the
server up for all the time that calls under way are given.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_LOOK_SECONDS = 0.2


class HealthServicer(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # the library's classes have no types
    """Answers for the whole server (the empty name) and for each of its services.

    Args:
        is_ready: tells whether the server is ready.
        services: the services that follow it.

    """

    def __init__(self, is_ready: Callable[[], bool], services: Sequence[str]) -> None:
        self._is_ready = is_ready
        self._services = {"", *services}
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Be ready no more, and end what watches."""
        self._stopped.set()

    async def Check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        """Answer whether a service is ready now; NOT_FOUND if there is none of that name."""
        status = self._status(request.service)
        if status is None:
            known = ", ".join(sorted(self._services - {""}))
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no such service; there are: {known}")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(  # noqa: N802 - the protocol's name
        self,
        request: Any,
        context: grpc.aio.ServicerContext,  # noqa: ARG002 - the shape of a servicer's method
    ) -> AsyncIterator[Any]:
        """Answer whether a service is ready, now and whenever that changes, until the server stops."""
        told = None
        while True:
            status = self._status(request.service)
            if status is None:
                status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != told:
                yield health_pb2.HealthCheckResponse(status=status)
                told = status
            if self._stopped.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._stopped.wait()

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return None
        ready = self._is_ready() and not self._stopped.is_set()
        return health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
