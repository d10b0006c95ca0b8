"""The observer of calls over gRPC: the tally behind the metrics, and the traces, as HTTP's requests have them."""

from __future__ import annotations

import grpc

from predictor.observability.request_tally import CallTally
from predictor.observability.spans import RequestSpan
from predictor.observability.tracing import Tracing, current_span
from predictor.v2.grpc_calls import SERVICE, GrpcCall


class CallObserver:
    """Takes note of every call; implements :class:`predictor.v2.grpc_calls.GrpcObserver`.

    Args:
        tally: counts calls; None counts none.
        tracing: begins their spans; None traces nothing.

    """

    def __init__(self, tally: CallTally | None, tracing: Tracing | None) -> None:
        self._tally = tally
        self._tracing = tracing

    def begin(self, call: GrpcCall, request_id: str) -> tuple[RequestSpan, str] | None:
        """Begin the call's span, if it is one of those that are traced."""
        if self._tracing is None:
            return None
        span = self._tracing.begin(_bytes(call, "traceparent"), _bytes(call, "tracestate"))
        if span is None:
            return None
        current_span.set(span)
        return span, request_id

    def end(self, call: GrpcCall, noted: object, code: grpc.StatusCode, seconds: float) -> None:
        """Count the call, end its span."""
        if self._tally is not None:
            self._tally.note(call.method, code.name, seconds)
        match noted:
            case (RequestSpan() as span, str() as request_id):
                span.end_grpc(SERVICE, call.method, code.name, request_id=request_id, client=call.client)


def _bytes(call: GrpcCall, name: str) -> bytes | None:
    value = call.metadata.get(name)
    return value.encode() if isinstance(value, str) else value
