"""Spans as a collector received them, drawn as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.predictor.observability.collector import attributes

_SHOWN = ("weight", "step", "result", "again_in_seconds", "gate", "model", "alias", "outcome", "reason")


def said(span: Span) -> dict[str, Any]:
    """Return what a span says."""
    return attributes(span)


def drawn(spans: Iterable[Span]) -> Iterator[str]:
    """Yield a line for each span, below the one above it, with when it began and how long it took."""
    found = sorted(spans, key=lambda span: (span.start_time_unix_nano, -span.end_time_unix_nano))
    ids = {span.span_id for span in found}
    began = min((span.start_time_unix_nano for span in found), default=0)
    for span in found:
        if span.parent_span_id not in ids:
            yield from _below(span, found, began, 0)


def _below(span: Span, spans: list[Span], began: int, depth: int) -> Iterator[str]:
    facts = {name.removeprefix("telltale."): value for name, value in said(span).items()}
    shown = " ".join(f"{name}={facts[name]}" for name in _SHOWN if name in facts)
    at, took = span.start_time_unix_nano - began, span.end_time_unix_nano - span.start_time_unix_nano
    code = facts.get("http.response.status_code", "")
    links = "".join(f" -> link {link.trace_id.hex()}" for link in span.links)
    yield f"{at / 1e9:8.3f} s {took / 1e6:9.1f} ms  {'  ' * depth}{span.name} {code} {shown}{links}".rstrip()
    for child in spans:
        if child.parent_span_id == span.span_id:
            yield from _below(child, spans, began, depth + 1)
