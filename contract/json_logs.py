"""Logs as lines of JSON on standard error, each with the request it belongs to.

Only a composition root calls :func:`configure_logging`; everything else asks for ``logging.getLogger(__name__)``.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# uvicorn attaches its messages once more, with terminal colours.
_LEFT_OUT = ("color_message",)


class JsonLines(JsonFormatter):
    """Formats a record as one line: time, level, logger, message, request_id where there is one, and its extras."""

    def __init__(self) -> None:
        super().__init__("%(message)s", reserved_attrs=[*RESERVED_ATTRS, "taskName", *_LEFT_OUT])

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Put our fields first, then what the record brings."""
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = record.getMessage()
        if (current := request_id.get()) is not None:
            log_data["request_id"] = current
        super().add_fields(log_data, record, message_dict)


def configure_logging(level: str) -> None:
    """Send all logs of at least ``level`` (debug, info, warning, error) to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
