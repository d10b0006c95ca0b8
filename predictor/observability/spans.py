"""Spans by OpenTelemetry's SDK, and their way to the collector. Imported late, and only where requests are traced.

The names of attributes are those of OpenTelemetry's semantic conventions for HTTP and RPC servers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from predictor.observability.request_tally import METHODS
from predictor.observability.traceparent import formatted, parent_of
from predictor.observability.tracing_config import TracingConfig
from telemetry.exporting import CountedExport, quiet_exporter_logs

_SCOPE = "telltale.predictor"
_LONGEST_ATTRIBUTE = 1024
_LONGEST_TRACESTATE = 512
# What gRPC's conventions have a server call an error; the others are the client's fault.
_GRPC_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})


class _DrawnIds(RandomIdGenerator):
    """Gives the next trace the id that was drawn for it."""

    def __init__(self) -> None:
        self.drawn = 0

    def generate_trace_id(self) -> int:
        return self.drawn or super().generate_trace_id()


class SpanSource:
    """Makes spans and exports them in batches, from a bounded queue.

    Args:
        config: where spans go, and what they say of this process.

    """

    def __init__(self, config: TracingConfig) -> None:
        self._restore_logs = quiet_exporter_logs()
        self._ids = _DrawnIds()
        self._export = CountedExport(OTLPSpanExporter(endpoint=config.endpoint))
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.sample_ratio)),
            resource=_resource(config),
            id_generator=self._ids,
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_attribute_length=_LONGEST_ATTRIBUTE),
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._export))
        self._tracer = self._provider.get_tracer(_SCOPE, config.service_version)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many spans were exported, and how many could not be."""
        return {"exported": self._export.exported, "failed": self._export.failed}

    def root(self, trace_id: int) -> RequestSpan:
        """Begin the first span of a trace that was drawn."""
        self._ids.drawn = trace_id
        return self._begun(Context())

    def child_of(self, traceparent: bytes, tracestate: bytes | None) -> RequestSpan:
        """Begin a span below the caller's; ``traceparent`` is valid."""
        parent = parent_of(traceparent)
        context = SpanContext(
            parent.trace_id,
            parent.span_id,
            is_remote=True,
            trace_flags=TraceFlags(parent.flags),
            trace_state=_state(tracestate),
        )
        return self._begun(trace.set_span_in_context(NonRecordingSpan(context), Context()))

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

    def _begun(self, context: Context) -> RequestSpan:
        return RequestSpan(self._tracer, self._tracer.start_span("request", context, kind=SpanKind.SERVER))


class RequestSpan:
    """The span of one request; any thread may call it, and nothing changes it once it has ended."""

    __slots__ = ("_records", "_span", "_tracer", "span_id", "trace_id", "traceparent")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._records = 0
        context = span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.span_id = f"{context.span_id:016x}"
        self.traceparent = formatted(context.trace_id, context.span_id, context.trace_flags)

    def headers(self) -> dict[str, str]:
        """Return the headers that carry the trace on."""
        headers = {"traceparent": self.traceparent}
        if state := self._span.get_span_context().trace_state:
            headers["tracestate"] = state.to_header()
        return headers

    def scored(self, model: str, version: str, records: int, seconds: float) -> None:
        """Note what one version scored, in ``seconds`` up to now: attributes, and a child span ``score``."""
        self._records += records
        who = {"telltale.model": model, "telltale.model_version": version}
        self._span.set_attributes({**who, "telltale.records": self._records})
        now = time.time_ns()
        context = trace.set_span_in_context(self._span, Context())
        child = self._tracer.start_span(
            "score",
            context,
            attributes={**who, "telltale.records": records},
            start_time=now - int(seconds * 1e9),
        )
        child.end(now)

    def end_http(
        self,
        method: str,
        route: str,
        path: str,
        status: int,
        *,
        request_id: str,
        client: str = "",
        server: tuple[str, int | None] | None = None,
        scheme: str = "http",
    ) -> None:
        """End the span of a request over HTTP.

        Args:
            method: as the client sent it.
            route: the template of the route, ``(none)`` where there is none.
            path: as the client sent it.
            status: of the answer; 0 if there was none.
            request_id: the request's id.
            client: the client's address.
            server: the address and port that it connected to.
            scheme: ``http`` or ``https``.

        """
        named = method if method in METHODS else "_OTHER"
        has_route = route.startswith("/")
        shown = named if named != "_OTHER" else "HTTP"
        self._span.update_name(f"{shown} {route}" if has_route else shown)
        attributes: dict[str, str | int] = {
            "http.request.method": named,
            "url.path": path,
            "url.scheme": scheme,
            "telltale.request_id": request_id,
        }
        if named != method:
            attributes["http.request.method_original"] = method
        if has_route:
            attributes["http.route"] = route
        if status:
            attributes["http.response.status_code"] = status
        if client:
            attributes["client.address"] = client
        if server is not None:
            attributes["server.address"] = server[0]
            if server[1] is not None:
                attributes["server.port"] = server[1]
        self._end(attributes, str(status) if status >= 500 else None if status else "_OTHER")

    def end_grpc(self, service: str, method: str, code: str, *, request_id: str, client: str = "") -> None:
        """End the span of a call over gRPC.

        Args:
            service: ``inference.GRPCInferenceService``, say.
            method: ``ModelInfer``, say.
            code: the status code's name, ``OK`` or ``NOT_FOUND``, say.
            request_id: the request's id.
            client: the client's address.

        """
        full = f"{service}/{method}"
        self._span.update_name(full)
        attributes: dict[str, str | int] = {
            "rpc.system.name": "grpc",
            "rpc.method": full,
            "rpc.response.status_code": code,
            "telltale.request_id": request_id,
        }
        if client:
            attributes["client.address"] = client
        self._end(attributes, code if code in _GRPC_ERRORS else None)

    def _end(self, attributes: dict[str, str | int], error: str | None) -> None:
        if error is not None:
            attributes["error.type"] = error
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attributes(attributes)
        self._span.end()


def _resource(config: TracingConfig) -> Resource:
    """Return what spans say of this process; the standard variables win over our settings."""
    ours = Resource.create({"service.name": config.service_name, **config.attributes})
    if config.service_version:
        ours = ours.merge(Resource({"service.version": config.service_version}))
    return ours.merge(OTELResourceDetector().detect())


def _state(header: bytes | None) -> TraceState | None:
    if not header or len(header) > _LONGEST_TRACESTATE:
        return None
    return TraceState.from_header([header.decode("latin-1")])
