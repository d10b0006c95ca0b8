"""The exporter, counted, and kept from filling the log while the collector is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_MINUTE = 60.0
# Whoever says something about each attempt to export, and about each span that finds the queue full.
_TALKATIVE = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")


class CountedExport(SpanExporter):
    """An exporter that counts what another one does."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_shut = False
        self.exported = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans; called by one thread."""
        # OpenTelemetry's exporter would say for each batch that it is shut.
        result = SpanExportResult.FAILURE if self._is_shut else self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """Give up; what waits to be tried again is not."""
        if not self._is_shut:
            self._is_shut = True
            self._exporter.shutdown()


class OnceAMinute(logging.Filter):
    """Lets one record a minute pass, and adds how many it held back.

    Args:
        clock: seconds that never go back.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._next = float("-inf")
        self._held = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record may pass."""
        now = self._clock()
        if now < self._next:
            self._held += 1
            return False
        if self._held:
            record.msg = f"{record.getMessage()} ({self._held} like it in the last minute)"
            record.args = None
        self._next, self._held = now + _MINUTE, 0
        return True


def quiet_exporter_logs() -> Callable[[], None]:
    """Let the exporter complain once a minute; returns what undoes it."""
    once = OnceAMinute()
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for logger in loggers:
        logger.addFilter(once)

    def restore() -> None:
        for logger in loggers:
            logger.removeFilter(once)

    return restore
