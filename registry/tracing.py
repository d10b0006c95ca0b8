"""What a look at a ServedModel did, taken down while it happens, and sent as spans only where somebody would read them.

A look is sent if it changed something, wrote anything but a ServedModel's status and Events, said something in the
log, did not end well, or took a second; what finds everything as it should be leaves no span. All looks of an attempt
are in one trace (:func:`registry.tracing_change.place_of`), which a span ``rollout`` closes; a link leads from there to
the training. Without a collector nothing is taken down but what log lines say of the look.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from registry.work_queue import Key
from telemetry.spans import Span, SpanPlace, Value

_READS = ("get", "list")
_SLOW = 1_000_000_000

current_look: ContextVar[Look | None] = ContextVar("current_look", default=None)


class Sends(Protocol):
    """The way to the collector: :class:`telemetry.pipeline.SpanPipeline`."""

    def send(self, span: Span) -> None:
        """Have a span sent."""


@dataclass(frozen=True)
class Call:
    """A request to somebody else, which is over; times in nanoseconds since 1970."""

    name: str
    began: int
    ended: int
    attributes: Mapping[str, Value]
    error: str | None = None
    changes: bool = False


@dataclass(frozen=True)
class Rollout:
    """An attempt that looks belong to.

    Args:
        attempt: its id.
        place: the first span of its trace.
        began: when the first look at it did, in nanoseconds since 1970.

    """

    attempt: str
    place: SpanPlace
    began: int


@dataclass
class Look:
    """One look, while it goes on and afterwards; calls may come from several threads, and late.

    Args:
        key: the ServedModel.
        began: nanoseconds since 1970.
        random_bits: returns so many; None where nothing is traced.
        rollout: the attempt that it belongs to, as far as that is known.
        found: calls made before it, which are why it was begun.

    """

    key: Key
    began: int
    random_bits: Callable[[int], int] | None
    rollout: Rollout | None
    found: tuple[Call, ...] = ()
    # What follows is said of it while it goes on.
    name: str = "reconcile"
    result: str = ""
    error: str | None = None
    attributes: dict[str, Value] = field(default_factory=dict)
    links: tuple[SpanPlace, ...] = ()
    over: Span | None = None
    # Chosen when it is first asked for: a look that a log line has named stays in its trace, and is sent.
    chosen: SpanPlace | None = None
    has_news: bool = False
    calls: list[Call] = field(default_factory=list)
    is_sent: bool | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def place(self) -> SpanPlace | None:
        """Return where its span is, which is sent then; None where nothing is traced."""
        if self.chosen is None and self.random_bits is not None:
            trace_id = self.random_bits(128) | 1 if self.rollout is None else self.rollout.place.trace_id
            self.chosen = SpanPlace(trace_id, self.random_bits(64) | 1)
        return self.chosen

    def ended(self, result: str, again_in: float | None) -> None:
        """Say what it came to, and in how many seconds the next is due."""
        self.result = result
        self.attributes["telltale.result"] = result
        if again_in is not None:
            self.attributes["telltale.again_in_seconds"] = round(again_in, 3)

    def is_worth_sending(self, now: int) -> bool:
        """Tell whether somebody would read of it."""
        has_written = any(call.changes for call in self.calls)
        ended_badly = self.result != "done" or self.error is not None
        return self.has_news or has_written or ended_badly or self.chosen is not None or now - self.began >= _SLOW


class Tracing:
    """Takes looks down and sends them.

    Args:
        spans: the way to the collector; None sends nothing.
        clock: nanoseconds since 1970.
        random_bits: returns so many random bits.

    """

    def __init__(
        self,
        spans: Sends | None,
        *,
        clock: Callable[[], int] = time.time_ns,
        random_bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        self._spans, self._clock, self._random_bits = spans, clock, random_bits
        self._lock = threading.Lock()
        self._rollouts: dict[Key, Rollout] = {}
        self._found: dict[Key, tuple[Call, ...]] = {}
        self._recent = threading.local()

    @contextmanager
    def look(self, key: Key) -> Iterator[Look]:
        """Have what happens in the block belong to a look; its result is to be set before the end."""
        with self._lock:
            look = Look(
                key,
                self._clock(),
                None if self._spans is None else self._random_bits,
                self._rollouts.get(key),
                self._found.pop(key, ()),
            )
        token = current_look.set(look)
        try:
            yield look
        finally:
            current_look.reset(token)
            self._end(look)

    def called(
        self,
        name: str,
        seconds: float,
        attributes: Mapping[str, Value],
        *,
        error: str | None = None,
        changes: bool = False,
    ) -> None:
        """Take down a request that just ended, for the look that it was made for."""
        if self._spans is None:
            return
        ended = self._clock()
        call = Call(name, ended - int(seconds * 1e9), ended, attributes, error, changes)
        look = current_look.get()
        if look is None:
            self._recent.calls = [*getattr(self._recent, "calls", ()), call][-8:]
            return
        with look.lock:
            is_sent = look.is_sent
            if is_sent is None:
                look.calls.append(call)
        place = look.place() if is_sent else None
        if place is not None:
            self._spans.send(self._call_span(call, place, place.span_id))

    def seeks(self) -> None:
        """Say that what this thread calls from now on, outside of any look, is about something else than before."""
        self._recent.calls = []

    def has_found(self, key: Key) -> None:
        """Have what this thread called last, outside of any look, belong to the next look at a ServedModel."""
        if current_look.get() is None and self._spans is not None:
            with self._lock:
                self._found[key] = tuple(getattr(self._recent, "calls", ()))

    def belongs(self, look: Look, attempt: str, place: SpanPlace, since: int | None, *, goes_on: bool) -> Rollout:
        """Say which attempt a look belongs to, and whether the next one will; return what is known of it.

        ``since`` is when it began, in nanoseconds since 1970; None if it does so with this look.
        """
        with self._lock:
            known = self._rollouts.pop(look.key, None)
            if known is None or known.attempt != attempt:
                began = min([look.began, *(call.began for call in look.found)]) if since is None else since
                known = Rollout(attempt, place, began)
            if goes_on:
                self._rollouts[look.key] = known
        look.rollout = known
        return known

    def now(self) -> int:
        """Return the time, in nanoseconds since 1970."""
        return self._clock()

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a ServedModel that is gone."""
        with self._lock:
            self._rollouts.pop(key, None)
            self._found.pop(key, None)

    def forget_all(self) -> None:
        """Drop what is remembered: another replica goes on."""
        with self._lock:
            self._rollouts.clear()
            self._found.clear()

    def _end(self, look: Look) -> None:
        if self._spans is None:
            return
        now = self._clock()
        with look.lock:
            look.is_sent = look.is_worth_sending(now)
        place = look.place() if look.is_sent else None
        if place is not None:
            for span in self._spans_of(look, place, now):
                self._spans.send(span)
        if look.over is not None:
            self._spans.send(look.over)

    def _spans_of(self, look: Look, place: SpanPlace, now: int) -> Iterator[Span]:
        rollout = look.rollout
        is_in_trace = rollout is not None and rollout.place.trace_id == place.trace_id
        above = rollout.place.span_id if rollout is not None and is_in_trace else None
        links = look.links if rollout is None or is_in_trace else (*look.links, rollout.place)
        yield Span(look.name, place, above, look.began, now, attributes=look.attributes, links=links, error=look.error)
        for call in look.found:
            yield self._call_span(call, place, above or place.span_id)
        for call in look.calls:
            yield self._call_span(call, place, place.span_id)

    def _call_span(self, call: Call, place: SpanPlace, above: int) -> Span:
        own = SpanPlace(place.trace_id, self._random_bits(64) | 1)
        return Span(call.name, own, above, call.began, call.ended, "client", call.attributes, error=call.error)


def changes_something(verb: str, resource: str, code: int) -> bool:
    """Tell whether a request to the API server wrote more than a ServedModel's status, or an Event."""
    return 200 <= code < 300 and verb not in _READS and resource not in ("servedmodels", "events")
