"""The span of a training: it continues the trace of the request that asked for it, or begins one.

Off unless OpenTelemetry's standard variables name a collector. Trainings are few and long, so each is a span, also
where the request was none; an attempt that fails is one of its own. The span's place is written to the version's tags,
from which the rollout of that version finds it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Protocol

from telemetry.spans import Span, SpanPlace, Value, sampled_place
from trainer.job_runner import Trains

# The span of the request that asked for the job of this thread, if it is sampled.
asked_by: ContextVar[str | None] = ContextVar("asked_by", default=None)
_current: ContextVar[_Training | None] = ContextVar("training", default=None)


class Sends(Protocol):
    """The way to the collector: :class:`telemetry.pipeline.SpanPipeline`."""

    def send(self, span: Span) -> None:
        """Have a span sent."""


class TracedTraining:
    """Trains, and sends a span of it.

    Args:
        training: trains.
        spans: the way to the collector; None sends nothing.
        clock: nanoseconds since 1970.
        random_bits: returns so many random bits.

    """

    def __init__(
        self,
        training: Trains,
        spans: Sends | None,
        *,
        clock: Callable[[], int] = time.time_ns,
        random_bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        self._training, self._spans = training, spans
        self._clock, self._random_bits = clock, random_bits

    def train(self, batch_id: str) -> None:
        """Make the batch's version; see :meth:`trainer.training.Training.train`."""
        asked = sampled_place(asked_by.get())
        if self._spans is None:
            _current.set(None if asked is None else _Training(asked))
            self._training.train(batch_id)
            return
        trace_id = self._random_bits(128) | 1 if asked is None else asked.trace_id
        training = _Training(SpanPlace(trace_id, self._random_bits(64) | 1))
        training.attributes["telltale.batch_id"] = batch_id
        _current.set(training)
        began, fault = self._clock(), None
        try:
            self._training.train(batch_id)
        except BaseException as error:
            fault = type(error).__name__
            training.attributes["error.type"] = fault
            raise
        finally:
            above = None if asked is None else asked.span_id
            self._spans.send(
                Span("train", training.place, above, began, self._clock(), "consumer", training.attributes, error=fault)
            )


class _Training:
    """The training of this thread."""

    def __init__(self, place: SpanPlace) -> None:
        self.place = place
        self.attributes: dict[str, Value] = {}


def describe(attributes: Mapping[str, Value]) -> None:
    """Say more about the training of this thread, if there is a span of it."""
    training = _current.get()
    if training is not None:
        training.attributes |= attributes


def traceparent() -> str | None:
    """Return the span that the training of this thread is, or that asked for it; None if there is none."""
    training = _current.get()
    return None if training is None else training.place.traceparent()
