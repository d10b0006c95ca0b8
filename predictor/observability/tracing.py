"""Which requests are traced, decided for the others without making anything.

Sampling is parent-based: a caller that sampled its trace gets our spans too, one that did not gets none, and of
requests without a caller's trace a share is drawn, by the trace id as OpenTelemetry's TraceIdRatioBased has it.
OpenTelemetry itself is imported by :meth:`Tracing.start`, in a thread: it takes time and memory that the first answer
must not wait for. Requests before that are not traced.

Answers carry no trace header: ``traceresponse`` is a draft. The trace id of a sampled request is in its log lines.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

from predictor.observability.metrics import Metrics
from predictor.observability.traceparent import formatted, says_sampled
from predictor.observability.tracing_config import TracingConfig

if TYPE_CHECKING:
    from predictor.observability.spans import RequestSpan, SpanSource

_log = logging.getLogger(__name__)

# The span of the request that runs here, if it is sampled.
current_span: ContextVar[RequestSpan | None] = ContextVar("current_span", default=None)


class Tracing:
    """Begins the spans of requests; its methods but :meth:`start` and :meth:`stop` belong to the event loop.

    Args:
        config: what is traced.
        random_bits: returns so many random bits.

    """

    def __init__(self, config: TracingConfig, *, random_bits: Callable[[int], int] = random.getrandbits) -> None:
        self._config = config
        self._random_bits = random_bits
        self._bound = round(config.sample_ratio * 2**64)
        self._source: SpanSource | None = None
        self._starting = threading.Thread(target=self._prepare, name="tracing-start", daemon=True)
        self.sampled = 0

    def start(self) -> None:
        """Begin to trace, as soon as OpenTelemetry is there; returns at once."""
        self._starting.start()

    def wait(self, seconds: float) -> bool:
        """Wait until requests are traced; False if they are not by then."""
        self._starting.join(seconds)
        return self._source is not None

    def stop(self) -> None:
        """Send the last spans, within ``shutdown_seconds``; nothing is traced afterwards."""
        source, self._source = self._source, None
        if source is not None:
            source.stop(self._config.shutdown_seconds)

    def expose(self, metrics: Metrics) -> None:
        """Show how many traces were sampled, and what became of their spans."""
        metrics.count("traces_sampled", "Requests that were traced.", lambda: self.sampled)
        metrics.count("spans", "Spans handed to the exporter, by outcome.", self._outcomes, label="outcome")

    def begin(self, traceparent: bytes | None, tracestate: bytes | None = None) -> RequestSpan | None:
        """Return the span of a request, None if it is not sampled.

        Whoever gets a span has to end it, and sets :data:`current_span` in the request's context.

        Args:
            traceparent: the header of that name.
            tracestate: the header of that name; it counts for nothing without a valid ``traceparent``.

        """
        source = self._source
        if source is None:
            return None
        sampled = None if traceparent is None else says_sampled(traceparent)
        if sampled is None or traceparent is None:
            drawn = self._random_bits(64)
            if drawn >= self._bound:
                return None
            self.sampled += 1
            # The sampler looks at the lower half alone: it decides the same for this id as the draw did.
            return source.root(self._random_bits(64) << 64 | drawn)
        if not sampled:
            return None
        self.sampled += 1
        return source.child_of(traceparent, tracestate)

    def onward(
        self, span: RequestSpan | None, traceparent: bytes | None = None, tracestate: bytes | None = None
    ) -> dict[str, str]:
        """Return the headers that carry a request's trace to whatever it sets off, a training job for one.

        Of a request that is not sampled they say so, so that what follows is not sampled either.

        Args:
            span: the request's span.
            traceparent: the header that came with the request.
            tracestate: the same.

        """
        if span is not None:
            return span.headers()
        if traceparent is None or says_sampled(traceparent) is None:
            return {"traceparent": formatted(self._random_bits(128) | 1, self._random_bits(64) | 1, 0)}
        headers = {"traceparent": traceparent.decode("ascii", "replace")}
        if tracestate:
            headers["tracestate"] = tracestate.decode("latin-1")
        return headers

    def _prepare(self) -> None:
        from predictor.observability.spans import SpanSource  # noqa: PLC0415 - it takes a while, in this thread

        try:
            self._source = SpanSource(self._config)
        except (ImportError, RuntimeError, ValueError, OSError) as error:
            _log.error("requests are not traced: %s", error)

    def _outcomes(self) -> Mapping[str, float]:
        source = self._source
        return source.outcomes if source is not None else {}
