"""Which lines of a log are faults, and that each is seen once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fuzz.log_tail import LogTail


def line(**values: object) -> str:
    fields = {"level": "info", "logger": "predictor.x", "message": "m", "request_id": "r"}
    return json.dumps(fields | values) + "\n"


TRACE = 'Traceback (most recent call last):\n  File "/a/b/c.py", line 7, in f\nKeyError: 1'


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (line(), []),
        (line(request_id=""), ["no request id (predictor.x)"]),
        (line(level="error"), ["an error (predictor.x)"]),
        (line(level="error", exc_info=TRACE), ["an error (c.py:7 KeyError)"]),
        ("Traceback (most recent call last):\n", ["no line of JSON with level, logger and message"]),
        ("\xff\n", ["no line of JSON with level, logger and message"]),
        (line(request_id="", logger="uvicorn.error", message="Application startup complete."), []),
        (
            line(request_id="", logger="uvicorn.error", message="Exception in ASGI application"),
            ["no request id (uvicorn.error)"],
        ),
    ],
)
def test_a_line_is_a_fault_or_not(tmp_path: Path, text: str, faults: list[str]) -> None:
    (tmp_path / "log").write_text(text, "latin-1")
    assert list(LogTail(tmp_path / "log").faults()) == faults


def test_each_line_is_seen_once_and_when_it_is_whole(tmp_path: Path) -> None:
    tail = LogTail(tmp_path / "log")
    assert tail.faults() == {}
    bad = line(request_id="")
    with (tmp_path / "log").open("a") as log:
        log.write(line() + bad[:10])
        log.flush()
        assert tail.faults() == {}
        log.write(bad[10:])
        log.flush()
        assert list(tail.faults()) == ["no request id (predictor.x)"]
        assert tail.faults() == {}
