"""The access log: the lines that a collector of logs reads, whatever clients send and however slow the reader is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.json_logs import JsonLines
from predictor.observability.access_log import AccessLog
from predictor.observability.log_stream import ATOMIC_BYTES
from predictor.observability.metrics import Metrics
from tests.predictor.observability.exposed import value
from tests.predictor.observability.test_log_stream import Pipe

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe."""
    pipe = Pipe(*os.pipe())
    yield pipe
    os.close(pipe.reading)
    os.close(pipe.writing)


def note(log: AccessLog, **changes: Any) -> None:
    """Log a request."""
    given: dict[str, Any] = {
        "request_id": "r-1",
        "method": "POST",
        "path": "/score",
        "route": "/score",
        "status": 200,
        "seconds": 0.0312345,
        "size": 120,
        "client": "10.0.0.1",
    }
    log.note(**(given | changes))


def parsed(text: bytes) -> list[dict[str, Any]]:
    """Return lines as a collector of logs reads them."""
    assert text == b"" or text.endswith(b"\n")
    return [json.loads(line) for line in text.split(b"\n")[:-1]]


def logged(pipe: Pipe, *requests: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    """Log requests on an event loop and return the lines."""

    async def run() -> None:
        log = AccessLog(output=pipe.writing, lock=threading.Lock(), **settings)
        log.start()
        for request in requests:
            note(log, **request)
        log.stop()

    asyncio.run(run())
    return parsed(pipe.read())


def test_a_line_has_the_fields_of_all_our_logs_and_what_a_person_filters_by(pipe: Pipe) -> None:
    """In a fixed order, with the time in UTC to the millisecond."""
    (line,) = logged(pipe, {}, now=lambda: NOON.timestamp() + 0.0426)
    assert list(line.items()) == [
        ("time", "2024-03-01T12:00:00.042+00:00"),
        ("level", "info"),
        ("logger", "predictor.access"),
        ("message", "POST /score 200"),
        ("request_id", "r-1"),
        ("method", "POST"),
        ("path", "/score"),
        ("route", "/score"),
        ("status", 200),
        ("duration_ms", 31.234),
        ("bytes", 120),
        ("client", "10.0.0.1"),
    ]


def test_the_form_is_that_of_the_other_logs(pipe: Pipe) -> None:
    """The same fields in the same order as a line of any logger of ours, with the same time."""
    record = logging.LogRecord("predictor.access", logging.INFO, __file__, 1, "POST /score 200", (), None)
    record.created = NOON.timestamp() + 0.5
    theirs = json.loads(JsonLines().format(record))
    (ours,) = logged(pipe, {}, now=lambda: record.created)
    assert {name: ours[name] for name in theirs} == theirs
    assert list(ours)[:4] == list(theirs)


def test_a_traced_request_has_its_ids(pipe: Pipe) -> None:
    """So that one finds the trace of a line, and the lines of a trace."""
    (line,) = logged(pipe, {"trace_id": "a" * 32, "span_id": "b" * 16})
    assert (line["trace_id"], line["span_id"]) == ("a" * 32, "b" * 16)


def test_a_request_without_a_known_client_says_so(pipe: Pipe) -> None:
    """As over a Unix socket."""
    lines = logged(pipe, {"client": None}, {"client": ""})
    assert [line["client"] for line in lines] == [None, None]


@pytest.mark.parametrize(("mode", "kept"), [("all", [200, 404, 500]), ("errors", [404, 500]), ("off", [])])
def test_the_mode_says_which_requests_are_logged(pipe: Pipe, mode: Any, kept: list[int]) -> None:
    """Errors are what was answered 4xx or 5xx."""
    lines = logged(pipe, {"status": 200}, {"status": 404}, {"status": 500}, mode=mode)
    assert [line["status"] for line in lines] == kept


@pytest.mark.parametrize(
    "path",
    [
        '/a"b\\c',
        "/two\nlines\r\n{}",
        "/\0\x1b[31m\x7f",
        "/\u2028\u2029\x85",
        "/\ud800\udfff",
        "/" + "\0" * 100_000,
        "/" + "é" * 100_000,
        "/" + "😀" * 511,
    ],
)
def test_whatever_the_path_holds_it_is_one_line_of_bounded_length(pipe: Pipe, path: str) -> None:
    """And the lines around it are whole."""

    async def run() -> None:
        log = AccessLog(output=pipe.writing, lock=threading.Lock())
        log.start()
        for one in ("/before", path, "/after"):
            note(log, path=one)
        log.stop()

    asyncio.run(run())
    text = pipe.read()
    before, line, after = parsed(text)
    assert (before["path"], after["path"]) == ("/before", "/after")
    assert max(map(len, text.split(b"\n"))) < ATOMIC_BYTES
    assert line["path"][:4] == path[:4].encode(errors="replace").decode()[:4]
    assert line["request_id"] == "r-1"


texts = st.text(st.characters(codec=None), max_size=700)


@given(path=texts, method=texts, request_id=st.text(max_size=200))
def test_any_text_makes_one_readable_line(path: str, method: str, request_id: str) -> None:
    """Lone surrogates and control characters included."""
    pipe = Pipe(*os.pipe())
    try:
        (line,) = logged(pipe, {"path": path, "method": method, "request_id": request_id})
    finally:
        os.close(pipe.reading)
        os.close(pipe.writing)
    assert line["status"] == 200
    assert line["message"] == f"{line['method']} {line['path']} 200"


def test_lines_are_written_by_themselves_soon(pipe: Pipe) -> None:
    """Nobody has to flush; an idle server has no timer running."""

    async def run() -> bytes:
        log = AccessLog(output=pipe.writing, lock=threading.Lock())
        log.start()
        assert log._timer is None
        note(log)
        assert pipe.read() == b""
        text = await read_until(pipe, lambda text: b"\n" in text)
        await until(lambda: log._timer is None)
        return text

    assert len(parsed(asyncio.run(run()))) == 1


def test_many_lines_are_written_without_waiting_for_the_timer(pipe: Pipe) -> None:
    """At 64 KiB, so that memory stays small."""

    async def run() -> int:
        log = AccessLog(output=pipe.writing, lock=threading.Lock())
        log.start()
        read = b""
        for _ in range(1000):
            note(log)
            read += pipe.read()
        return len(parsed(read))

    assert 200 < asyncio.run(run()) < 1000


def test_a_reader_that_hangs_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    """They are counted, and the log says how many as soon as somebody reads again."""
    metrics = Metrics()

    async def run() -> tuple[int, bytes]:
        log = AccessLog(output=pipe.writing, lock=threading.Lock())
        log.expose(metrics)
        log.start()
        for number in range(20_000):
            note(log, request_id=f"r-{number}")
        assert len(log._lines) < 3 * 1024 * 1024
        text = await read_until(pipe, lambda text: b"were dropped" in text)
        note(log, request_id="later")
        text += await read_until(pipe, lambda text: b"later" in text)
        return log.dropped, text

    dropped, text = asyncio.run(run())
    lines = parsed(text)
    kept = [line["request_id"] for line in lines if "request_id" in line]
    assert dropped > 1000
    assert kept == [*(f"r-{number}" for number in range(20_000 - dropped)), "later"]
    (notice,) = [line for line in lines if line["level"] == "warning"]
    assert notice["message"].startswith(f"{dropped} lines of the access log were dropped")
    assert list(notice) == ["time", "level", "logger", "message"]
    assert value(metrics, "telltale_access_log_dropped_total") == dropped


def test_lines_of_loggers_and_of_the_access_log_never_mingle(pipe: Pipe) -> None:
    """Threads log tracebacks longer than a pipe takes at once, while the reader is slow."""
    handler = logging.StreamHandler(os.fdopen(os.dup(pipe.writing), "w"))
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("predictor.other")
    logger.addHandler(handler)
    logger.propagate = False

    def log_much() -> None:
        for number in range(100):
            logger.warning("%d %s", number, "z" * 20_000)

    async def run() -> bytes:
        log = AccessLog(output=pipe.writing, lock=handler.lock)
        log.start()
        threads = [threading.Thread(target=log_much) for _ in range(2)]
        for thread in threads:
            thread.start()
        text = b""
        for number in range(3000):
            note(log, request_id=f"r-{number}")
            if number % 20 == 0:
                await asyncio.sleep(0)
                text += pipe.read(5000)
        text += await read_until(pipe, lambda text: b'"r-2999"' in text and not any(t.is_alive() for t in threads))
        return text + pipe.read()

    try:
        lines = parsed(asyncio.run(run()))
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
        handler.stream.close()
    assert len([line for line in lines if line["logger"] == "predictor.other"]) == 200
    ours = [line["request_id"] for line in lines if line["logger"] == "predictor.access"]
    assert ours == [f"r-{number}" for number in range(3000)]


def test_requests_before_the_start_are_logged_too(pipe: Pipe) -> None:
    """The first ones may come before the rest is up."""

    async def run() -> bytes:
        log = AccessLog(output=pipe.writing, lock=threading.Lock())
        note(log, request_id="early")
        log.start()
        return await read_until(pipe, lambda text: b"early" in text)

    assert len(parsed(asyncio.run(run()))) == 1


async def read_until(pipe: Pipe, condition: Callable[[bytes], bool]) -> bytes:
    """Read on until a condition holds for all that was read."""
    text = b""

    def holds() -> bool:
        nonlocal text
        text += pipe.read()
        return condition(text)

    await until(holds)
    return text


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a pipe's content has no event
            await asyncio.sleep(0.005)
