"""gRPC's connections have the bounds that HTTP's have."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from tests.predictor.security.guarded import SCORE_BY, Guarded, bearer, guarded, v2_message

CONNECTIONS = 6
Until = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server with few connections, and little patience."""
    folder = tmp_path_factory.mktemp("objects")
    with guarded(folder, max_connections=CONNECTIONS, header_seconds=0.5, max_header_bytes=8192) as started:
        yield started


def _connect(server: Guarded) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.running.predictor.grpc_port), timeout=10)


def _is_closed(connection: socket.socket) -> bool:
    """Tell whether the server closes the connection, after what it says of itself."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_connection_that_never_says_anything_is_closed(server: Guarded) -> None:
    with _connect(server) as connection:
        began = time.monotonic()
        assert _is_closed(connection)
        assert time.monotonic() - began < 5


def test_one_connection_too_many_is_closed_and_a_free_place_is_given(server: Guarded, until: Until) -> None:
    def answers() -> bool:
        """Ask over a connection of one's own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{server.running.predictor.grpc_port}", options=options) as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            try:
                infer(v2_message().SerializeToString(), metadata=[("authorization", bearer())], timeout=5)
            except grpc.RpcError as refusal:
                error: Any = refusal
                assert error.code() is grpc.StatusCode.UNAVAILABLE
                return False
        return True

    assert answers()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            channel = stack.enter_context(
                grpc.insecure_channel(
                    f"127.0.0.1:{server.running.predictor.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
                )
            )
            grpc.channel_ready_future(channel).result(timeout=10)
        assert not answers()
        assert server.http("GET", "/healthz").status == 200, "HTTP counts for itself"
    until(answers)


def test_metadata_beyond_the_limit_is_refused(server: Guarded) -> None:
    assert SCORE_BY["v2 grpc"](server, bearer(jti="x" * 4000)).status == 200
    with pytest.raises(grpc.RpcError) as refusal:
        server.stub.ModelInfer(v2_message(), metadata=[("authorization", bearer()), ("x-more", "x" * 40_000)])
    error: Any = refusal.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
