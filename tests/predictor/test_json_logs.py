"""Logs: one JSON object a line, with the request it belongs to."""

from __future__ import annotations

import json
import logging
import sys

from contract.json_logs import JsonLines, request_id


def line(record: logging.LogRecord) -> dict[str, object]:
    """Return a record as it is written."""
    text = JsonLines().format(record)
    assert "\n" not in text
    fields: dict[str, object] = json.loads(text)
    return fields


def make(message: str, *values: object, **extra: object) -> logging.LogRecord:
    """Return a log record."""
    record = logging.LogRecord("predictor.x", logging.WARNING, __file__, 1, message, values, None)
    record.__dict__.update(extra)
    return record


def test_a_line_has_time_level_logger_and_message() -> None:
    """In this order, and what the record brings after them."""
    fields = line(make("%d batches", 3, model="default", color_message="loud"))
    assert list(fields) == ["time", "level", "logger", "message", "model"]
    assert str(fields.pop("time")).endswith("+00:00")
    expected = {"level": "warning", "logger": "predictor.x", "message": "3 batches", "model": "default"}
    assert fields == expected


def test_a_line_of_a_request_has_its_id() -> None:
    """So that a person finds all lines of one request."""
    token = request_id.set("r-7")
    try:
        assert line(make("x"))["request_id"] == "r-7"
    finally:
        request_id.reset(token)


def test_a_traceback_stays_within_its_line() -> None:
    """Log collectors split at line ends."""
    try:
        int("no number")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    assert "ValueError: invalid literal" in str(line(record)["exc_info"])
