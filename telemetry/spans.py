"""Traces as the components hand them to each other: a span's place, a finished span, and whether anybody wants them.

It loads nothing of OpenTelemetry, so that a component that is not to trace does not need it; see
:mod:`telemetry.pipeline` for the way to a collector. The predictor has its own, for its spans are on the hot path.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from telemetry.pipeline import SpanPipeline

_log = logging.getLogger(__name__)

# https://www.w3.org/TR/trace-context-2/#traceparent-header; of a later version than 00 more may follow a hyphen.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

Value = str | int | float | bool
Kind = Literal["internal", "client", "consumer"]


class SpanPlace(NamedTuple):
    """Where a span is: in which trace, and which of its spans it is."""

    trace_id: int
    span_id: int

    def traceparent(self) -> str:
        """Return it as the header ``traceparent`` of a span that is sampled."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


@dataclass(frozen=True)
class Span:
    """A finished span.

    Args:
        name: one of few.
        place: its own ids.
        parent: the id of the span above it in the same trace; None for the first of a trace.
        began, ended: nanoseconds since 1970.
        kind: as OpenTelemetry has it.
        attributes: what it says.
        links: spans of other traces that it belongs to.
        error: what failed; None if nothing did.

    """

    name: str
    place: SpanPlace
    parent: int | None
    began: int
    ended: int
    kind: Kind = "internal"
    attributes: Mapping[str, Value] = field(default_factory=dict)
    links: tuple[SpanPlace, ...] = ()
    error: str | None = None


def sampled_place(traceparent: str | None) -> SpanPlace | None:
    """Return the span that a ``traceparent`` names; None if it is none, breaks the rules, or was not sampled."""
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is None or (found[1] == "00" and found[5]):
        return None
    place = SpanPlace(int(found[2], 16), int(found[3], 16))
    return place if all(place) and int(found[4], 16) & 1 else None


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Tell whether OpenTelemetry's standard variables ask for traces: they name an endpoint and switch nothing off."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return any(environment.get(name) for name in names)


def pipeline_for(service_name: str, environment: Mapping[str, str]) -> SpanPipeline | None:
    """Return the way to the collector that the environment names; None if it asks for none, or nothing can go there."""
    if not is_asked_for(environment):
        return None
    try:
        from telemetry.pipeline import SpanPipeline  # noqa: PLC0415 - only who traces has OpenTelemetry's exporter

        return SpanPipeline(service_name, version("telltale"))
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        _log.error("no traces are sent: %s", error)
        return None
