"""The controller's log: lines of JSON, each with the look that it belongs to, and no secret at any level.

Libraries that would write whole URLs and headers keep quiet below a warning also when all else is wanted: a webhook's
URL is a secret. What they call is in our own debug lines, by name and without its address.
"""

from __future__ import annotations

import logging

from contract.json_logs import configure_logging
from registry.tracing import current_look

# What these say below a warning is of no use to an operator, and may hold what must not be logged.
_QUIET = ("aiohttp", "asyncio", "httpcore", "httpcore2", "httpx", "httpx2", "kopf", "lightkube", "mlflow", "urllib3")


def configure(level: str) -> None:
    """Send all logs of at least ``level`` (debug, info, warning, error) to standard error."""
    configure_logging(level)
    root = logging.getLogger()
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    for handler in root.handlers:
        handler.addFilter(OfALook())
    logging.getLogger("asyncio").addFilter(without_kopfs_stumble)


def without_kopfs_stumble(record: logging.LogRecord) -> bool:
    """Let every record of asyncio's pass but one, which tells of nothing that went wrong.

    Where kopf ends while it opens a watch, its `request_cancel_callback` (kopf/_cogs/clients/api.py) asks for the task
    that is running, and a callback runs in none. The watch ends all the same: its task is cancelled as well.
    """
    raised = record.exc_info[0] if record.exc_info else None
    return raised is not AssertionError or "request_cancel_callback" not in record.getMessage()


class OfALook(logging.Filter):
    """Adds to a line which look it belongs to; the span of a look of which a line tells is always sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        look = current_look.get()
        if look is None:
            return True
        record.served_model, record.namespace = look.key.name, look.key.namespace
        if look.rollout is not None:
            record.attempt = look.rollout.attempt
        place = look.place() if record.levelno >= logging.INFO else None
        if place is not None:
            record.trace_id, record.span_id = f"{place.trace_id:032x}", f"{place.span_id:016x}"
        return True
