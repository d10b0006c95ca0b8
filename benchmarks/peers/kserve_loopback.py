"""KServe's model server on 127.0.0.1, without its log lines for each request: it has options for neither."""

# KServe has no types, or is not in the environment that is checked.
# mypy: disable-error-code="import-untyped,misc,no-any-return"
from __future__ import annotations

import logging
from typing import Any

import kserve
from grpc import aio
from kserve import model_server
from kserve.protocol.rest.server import RESTServer


class _LoopbackRESTServer(RESTServer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.host = "127.0.0.1"


def serve(model: kserve.Model, *, port: int, grpc_port: int | None = None) -> None:
    """Serve one model by V2 REST, and by gRPC if there is a port for it, until a signal comes."""
    add_port = aio.Server.add_insecure_port

    def add_loopback_port(server: aio.Server, address: str) -> int:
        return add_port(server, address.replace("[::]", "127.0.0.1"))

    aio.Server.add_insecure_port = add_loopback_port
    model_server.RESTServer = _LoopbackRESTServer
    server = kserve.ModelServer(
        http_port=port, grpc_port=grpc_port or 0, enable_grpc=grpc_port is not None, enable_latency_logging=False
    )
    for name in ("kserve", "kserve.trace", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])
