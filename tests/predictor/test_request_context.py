"""Ids, the access log, metrics, and the barrier that no traceback passes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from contract import json_logs
from predictor.facade.request_context import RequestContext, request_id_of
from predictor.observability.metrics import Metrics

SCOPE = {"type": "http", "method": "GET", "path": "/x", "headers": [], "client": ("10.0.0.1", 5)}


def scope_with(**headers: str) -> Scope:
    """Return a request's scope."""
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {**SCOPE, "headers": raw}


@pytest.mark.parametrize("given", ["a", "trace 1/2", "x" * 128, "~!@#"])
def test_a_sane_id_is_taken(given: str) -> None:
    """Whatever is printable ASCII and of bearable length."""
    assert request_id_of(scope_with(x_request_id=given)) == given


@pytest.mark.parametrize("given", ["", "x" * 129, "caf\xe9", "a\x7f"])
def test_another_id_is_replaced(given: str) -> None:
    """It would end up in logs and headers."""
    made = request_id_of(scope_with(x_request_id=given))
    assert made != given
    assert len(made) == 32


def run(app: Any, metrics: Metrics) -> list[Message]:
    """Send a request through the middleware into ``app``; returns the messages of the answer."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    asyncio.run(RequestContext(app, metrics=metrics)(scope_with(x_request_id="r-1"), receive, send))
    return sent


def test_an_unexpected_error_becomes_a_problem_and_its_cause_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """500 with the request's id, the traceback in the log alone."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("a secret fault")

    metrics = Metrics()
    with caplog.at_level(logging.INFO):
        start, body = run(app, metrics)
    assert start["status"] == 500
    assert (b"x-request-id", b"r-1") in start["headers"]
    assert b"urn:telltale:problem:internal" in body["body"]
    assert b"a secret fault" not in body["body"]
    assert "a secret fault" in caplog.text
    assert metrics.registry.get_sample_value("telltale_http_errors_total", {"route": "(none)", "status": "500"}) == 1


def test_an_answer_that_broke_off_closes_the_connection() -> None:
    """Only the raised error makes the server close it."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        run(app, Metrics())


def test_a_request_that_the_stop_cuts_off_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """503 and Retry-After instead of a broken connection."""

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise asyncio.CancelledError

    start, body = run(app, Metrics())
    assert start["status"] == 503
    assert (b"retry-after", b"5") in start["headers"]
    assert b"shutting-down" in body["body"]
    assert "Traceback" not in caplog.text


def test_the_access_log_has_a_line_for_each_request(caplog: pytest.LogCaptureFixture) -> None:
    """With what a person filters by; the id is the context's while the application runs, and gone after."""
    seen: list[str | None] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(json_logs.request_id.get())
        scope["route"] = type("Route", (), {"path": "/x/{y}"})
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"four"})

    with caplog.at_level(logging.INFO, "predictor.access"):
        run(app, Metrics())
    (line,) = [record for record in caplog.records if record.name == "predictor.access"]
    fields = ("method", "path", "route", "status", "bytes", "client")
    assert tuple(getattr(line, field) for field in fields) == ("GET", "/x", "/x/{y}", 204, 4, "10.0.0.1")
    assert seen == ["r-1"]
    assert json_logs.request_id.get() is None


def test_an_invented_method_makes_no_series() -> None:
    """Metrics stay bounded whatever clients send."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    metrics = Metrics()

    async def send(_message: Message) -> None:
        return

    async def receive() -> Message:
        return {"type": "http.request"}

    scope = {**scope_with(), "method": "BREW", "path": "/any/thing"}
    asyncio.run(RequestContext(app, metrics=metrics)(scope, receive, send))
    labels = {"method": "OTHER", "route": "(none)", "status": "404"}
    assert metrics.registry.get_sample_value("telltale_http_requests_total", labels) == 1
