"""The header traceparent: strict as the standard has it, and of one mind with OpenTelemetry's own reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from predictor.observability.traceparent import Parent, formatted, parent_of, says_sampled

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),  # and its trace id is random
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"00-{TRACE}-{SPAN}-ff", True),  # flags of the future
        (f"01-{TRACE}-{SPAN}-01", True),  # a version of the future
        (f"cc-{TRACE}-{SPAN}-00-what-the-future-will-bring", False),
        (f"cc-{TRACE}-{SPAN}-01-", True),
    ],
)
def test_a_valid_header_says_whether_the_caller_sampled(header: str, sampled: bool) -> None:
    """By the lowest bit of its flags."""
    assert says_sampled(header.encode()) is sampled
    assert parent_of(header.encode()) == Parent(int(TRACE, 16), int(SPAN, 16), int(header[53:55], 16))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-011",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE[:-1]}_-{SPAN}-01",
        f"00-{TRACE[:-2]}+1-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}{SPAN}--01",
        f" 0-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}a-01",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-é",
    ],
)
def test_any_other_header_counts_as_none(header: str) -> None:
    """A trace begins anew rather than under a wrong parent."""
    assert says_sampled(header.encode("latin-1")) is None


@given(
    st.one_of(
        st.binary(max_size=70),
        st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{0,3})?", fullmatch=True),
        st.from_regex(rb"(00|ff|01)-0{30}[01]{2}-0{15}[01]-0[0-3].?", fullmatch=True),
    )
)
def test_opentelemetry_reads_it_alike(header: bytes) -> None:
    """Whatever comes, the two agree on whether it is valid, on the ids, and on sampling."""
    text = header.decode("latin-1")
    if text != text.strip(" \t\r\n") or "\n" in text:
        return  # a server strips what surrounds a header, and refuses what breaks it
    context = TraceContextTextMapPropagator().extract({"traceparent": text})
    theirs = trace.get_current_span(context).get_span_context()
    ours = says_sampled(header)
    assert (ours is not None) == theirs.is_valid
    if ours is not None:
        assert parent_of(header) == Parent(theirs.trace_id, theirs.span_id, theirs.trace_flags)
        assert ours == theirs.trace_flags.sampled


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_is_written_is_read(trace_id: int, span_id: int, flags: int) -> None:
    """With all leading zeros."""
    header = formatted(trace_id, span_id, flags).encode()
    assert says_sampled(header) is bool(flags & 1)
    assert parent_of(header) == Parent(trace_id, span_id, flags)
