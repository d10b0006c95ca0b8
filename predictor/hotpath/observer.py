"""The observer of HTTP requests: the tally behind the metrics, the traces and the access log, each optional."""

from __future__ import annotations

from predictor.hotpath.frame import Exchange
from predictor.observability.access_log import AccessLog
from predictor.observability.request_tally import RequestTally
from predictor.observability.tracing import Tracing, current_span


class RequestObserver:
    """Takes note of every request; implements :class:`predictor.hotpath.frame.Observer`.

    Args:
        tally: counts requests; None counts none.
        access_log: gets a line for each; None where no log is wanted.
        tracing: begins their spans; None traces nothing.

    """

    def __init__(self, tally: RequestTally | None, access_log: AccessLog | None, tracing: Tracing | None) -> None:
        self._tally = tally
        self._access_log = access_log
        self._tracing = tracing

    def begin(self, exchange: Exchange) -> None:
        """Begin the request's span, if it is one of those that are traced."""
        if self._tracing is not None:
            fields = exchange.fields
            exchange.span = self._tracing.begin(fields.get(b"traceparent"), fields.get(b"tracestate"))

    def enter(self, exchange: Exchange) -> None:
        """Have what happens in this context from here on belong to the request's span."""
        if exchange.span is not None:
            current_span.set(exchange.span)

    def end(self, exchange: Exchange, seconds: float) -> None:
        """Count the request, log it, end its span."""
        if self._tally is not None:
            self._tally.note(exchange.method, exchange.route, exchange.status, seconds)
        span = exchange.span
        if self._access_log is not None:
            self._access_log.note(
                exchange.request_id,
                exchange.method,
                exchange.path,
                exchange.route,
                exchange.status,
                seconds,
                exchange.size,
                exchange.client,
                span.trace_id if span is not None else None,
                span.span_id if span is not None else None,
            )
        if span is not None:
            span.end_http(
                exchange.method,
                exchange.route,
                exchange.path,
                exchange.status,
                request_id=exchange.request_id,
                client=exchange.client,
            )
