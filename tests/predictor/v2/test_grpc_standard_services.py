"""Health and reflection, sent what is no message of theirs."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import grpc
import pytest

from tests.predictor.v2.serving import Serving

NO_MESSAGE = b"\x0a\xff"  # a string of 127 bytes, or more, of which none is there


@pytest.fixture
def channel(protocol: Serving) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{protocol.grpc_port}") as opened:
        yield opened


@pytest.mark.parametrize("kind", ["unary_unary", "unary_stream", "stream_stream"])
def test_what_is_no_message_is_the_clients_fault_and_no_error_in_the_log(
    channel: grpc.Channel, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """Anybody who reaches the port may send it."""
    methods = {
        "unary_unary": "/grpc.health.v1.Health/Check",
        "unary_stream": "/grpc.health.v1.Health/Watch",
        "stream_stream": "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
    sent = iter([NO_MESSAGE]) if kind == "stream_stream" else NO_MESSAGE

    def ask() -> None:
        next(iter(getattr(channel, kind)(methods[kind])(sent, timeout=10)))

    with caplog.at_level(logging.DEBUG), pytest.raises(grpc.RpcError) as refusal:
        ask()
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "is no grpc." in refusal.value.details()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
