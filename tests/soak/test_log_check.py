"""What a line of the server's log must be."""

from __future__ import annotations

import json
import os

import pytest

from soak.log_check import LogCheck, LogReader


def line(**fields: object) -> bytes:
    """A line of the log."""
    return json.dumps({"level": "info", "logger": "predictor.access", "message": "POST /score 200"} | fields).encode()


def test_lines_of_the_access_log_are_counted_by_status() -> None:
    """Each is one request."""
    check = LogCheck()
    for status in (200, 200, 404):
        check.take(line(request_id="a", status=status))
    assert (check.access, check.lines, check.faults) == ({200: 2, 404: 1}, 3, {})


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (line(status=200), "a line without a request id"),
        (line(logger="predictor.facade", message="somebody asked"), "a line without a request id"),
        (line(request_id="a", level="error", logger="predictor.v2"), "an error"),
        (line(request_id="a", level="error", logger="predictor.v2", exc_info="Traceback ..."), "a traceback"),
        (b"Traceback (most recent call last):", "a line that is no JSON"),
        (line(request_id="a")[:-1], "a line that is no JSON"),
    ],
)
def test_what_must_not_be_there_is_a_fault(said: bytes, fault: str) -> None:
    """An example is kept."""
    check = LogCheck()
    check.take(said)
    assert check.faults == {fault: 1}
    assert check.examples == [said.decode()]


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("predictor.server", "listening on http://127.0.0.1:8080"),
        ("uvicorn.error", "Shutting down"),
        ("predictor.models.loaded_versions", "model default is served by version 20240115100000 (sha256:0)"),
        ("predictor.security.quota_leases", "quotas are settled again"),
    ],
)
def test_what_the_server_does_of_its_own_accord_needs_no_request(logger: str, message: str) -> None:
    """It starts, stops, loads and writes."""
    check = LogCheck()
    check.take(line(logger=logger, message=message))
    assert check.faults == {}


def test_lines_that_the_server_dropped_are_counted() -> None:
    """It says how many."""
    check = LogCheck()
    check.take(line(level="warning", message="12 lines of the access log were dropped, since standard error ..."))
    assert (check.dropped, check.faults) == (12, {})


def test_a_pipe_is_read_to_its_end_however_it_is_cut() -> None:
    """Lines are put together again, and the last one may have no newline."""
    reading, writing = os.pipe()
    check = LogCheck()
    reader = LogReader(reading, check)
    whole = b"\n".join([line(request_id="a", status=200)] * 3)
    for start in range(0, len(whole), 7):
        os.write(writing, whole[start : start + 7])
    os.close(writing)
    assert reader.finish(10)
    assert (check.access, check.faults) == ({200: 3}, {})
