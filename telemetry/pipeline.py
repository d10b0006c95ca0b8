"""Finished spans on their way to a collector, by OpenTelemetry's SDK; for components whose spans are few.

Whoever traces gives it spans that are over, with the ids that it wants: so a span can be made up of what is known only
at its end, and one that turns out to be of no use is never made. Nothing here waits for the collector but `stop`.
Imported late, and only where spans are wanted. The global tracer is left alone: MLflow has its own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry.exporting import CountedExport, quiet_exporter_logs
from telemetry.spans import Kind, Span, SpanPlace

_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
_LONGEST_ATTRIBUTE = 1024


class SpanPipeline:
    """Sends spans in batches, from a bounded queue; `OTEL_EXPORTER_OTLP_*` and `OTEL_BSP_*` say where and how.

    Args:
        service_name: of this process; ``OTEL_SERVICE_NAME`` wins over it.
        service_version: our release.

    """

    def __init__(self, service_name: str, service_version: str) -> None:
        self._restore_logs = quiet_exporter_logs()
        self._ids, self._lock = _GivenIds(), threading.Lock()
        self._export = CountedExport(OTLPSpanExporter())
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(service_name, service_version),
            id_generator=self._ids,
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=_LONGEST_ATTRIBUTE),
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._export))
        self._tracer = self._provider.get_tracer(service_name, service_version)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many spans were exported, and how many could not be."""
        return {"exported": self._export.exported, "failed": self._export.failed}

    def send(self, span: Span) -> None:
        """Have a span sent; any thread may call it."""
        context = Context()
        if span.parent is not None:
            above = _context_of(SpanPlace(span.place.trace_id, span.parent))
            context = trace.set_span_in_context(NonRecordingSpan(above), context)
        links = [Link(_context_of(place)) for place in span.links]
        with self._lock:
            self._ids.place = span.place
            made = self._tracer.start_span(
                span.name, context, _KINDS[span.kind], dict(span.attributes), links, start_time=span.began
            )
        if span.error is not None:
            made.set_status(Status(StatusCode.ERROR, span.error[:_LONGEST_ATTRIBUTE]))
        made.end(span.ended)

    def stop(self, seconds: float) -> None:
        """Export what is left, for so long at most."""
        # In a thread, since the SDK's own shutdown waits for half a minute while the collector is away.
        stopping = threading.Thread(target=self._shut, name="tracing-stop", daemon=True)
        stopping.start()
        stopping.join(seconds)
        if stopping.is_alive():
            self._export.shutdown()

    def _shut(self) -> None:
        self._provider.shutdown()
        self._restore_logs()


class _GivenIds(IdGenerator):
    """Gives a span the ids that were chosen for it."""

    def __init__(self) -> None:
        self.place = SpanPlace(0, 0)

    def generate_trace_id(self) -> int:
        return self.place.trace_id

    def generate_span_id(self) -> int:
        return self.place.span_id


def _context_of(place: SpanPlace) -> SpanContext:
    return SpanContext(*place, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _resource(service_name: str, service_version: str) -> Resource:
    """Return what spans say of this process; the standard variables win over our names."""
    ours = Resource.create({"service.name": service_name})
    if service_version:
        ours = ours.merge(Resource({"service.version": service_version}))
    return ours.merge(OTELResourceDetector().detect())
