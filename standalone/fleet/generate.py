"""A fleet's telemetry over a span of time, with a label on each record (PURE).

The start time and the seed come in, so the same call always gives the same records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from standalone.fleet.drive_cycles import Floats, drive_modes, healthy_readings
from standalone.fleet.faults import FAULTS, Course, onset_step
from standalone.fleet.vehicles import FEATURES, Vehicle, make_vehicles

_SAMPLE_VEHICLES = 12
_SAMPLE_RECORDS_EACH = 170
_SAMPLE_INTERVAL = timedelta(minutes=5)
_SAMPLE_SEED = 20240115


@dataclass(frozen=True)
class FaultSpan:
    """A time in which some vehicles are faulty; at its end they are repaired.

    Args:
        first: the first step.
        last: the step after the last one.
        faulty: how many vehicles get a fault, which begins in the first half of the span; the kinds take turns.

    """

    first: int
    last: int
    faulty: int


@dataclass(frozen=True)
class Telemetry:
    """What a fleet reported.

    Args:
        vehicles: the fleet.
        times: the time of each step, with a zone, in order.
        readings: float64, shape ``(steps, vehicles, features)``, in the order of ``FEATURES``.
        faults: int8, shape ``(steps, vehicles)``: 0 is healthy, else 1 + position in ``FAULTS``.

    """

    vehicles: tuple[Vehicle, ...]
    times: tuple[datetime, ...]
    readings: Floats
    faults: NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.faults.size)

    def steps(self, first: int, last: int) -> Telemetry:
        """Return the steps from ``first`` up to and without ``last``."""
        return Telemetry(self.vehicles, self.times[first:last], self.readings[first:last], self.faults[first:last])

    def records(self) -> list[dict[str, Any]]:
        """Return the records as ``/ingest`` takes them, by time and then by vehicle, with named features."""
        stamps = [time.isoformat() for time in self.times]
        ids = [vehicle.vehicle_id for vehicle in self.vehicles]
        rounded = (np.round(self.readings, 4) + 0.0).tolist()  # never -0.0
        return [
            {"vehicle_id": name, "timestamp": stamp, "features": dict(zip(FEATURES, row, strict=True))}
            for stamp, rows in zip(stamps, rounded, strict=True)
            for name, row in zip(ids, rows, strict=True)
        ]

    def labels(self) -> list[str | None]:
        """Return the fault of each record, or None, in the order of :meth:`records`."""
        names = (None, *FAULTS)
        return [names[code] for code in self.faults.ravel().tolist()]

    def vehicle_types(self) -> list[str]:
        """Return the vehicle type of each record, in the order of :meth:`records`."""
        return [vehicle.kind.name for vehicle in self.vehicles] * len(self.times)


def generate(
    *,
    start: datetime,
    steps: int,
    vehicles: int,
    seed: int,
    interval: timedelta = timedelta(minutes=1),
    spans: Sequence[FaultSpan] = (),
) -> Telemetry:
    """Simulate a fleet.

    Args:
        start: time of the first step, with a zone.
        steps: readings of each vehicle.
        vehicles: size of the fleet; the types take turns.
        seed: the same seed gives the same readings and faults.
        interval: time between two readings of a vehicle.
        spans: when vehicles are faulty, and how many; spans do not overlap.

    Raises:
        ValueError: the start has no zone, there is nothing to simulate, or a span does not fit.

    """
    if start.tzinfo is None:
        raise ValueError("the start must carry a time zone")
    if steps < 1 or vehicles < 1:
        raise ValueError(f"at least one step and one vehicle are needed; got {steps} and {vehicles}")
    rng = np.random.default_rng(seed)
    fleet = make_vehicles(vehicles, rng)
    minutes = interval / timedelta(minutes=1)
    modes = drive_modes(fleet, steps, minutes, rng)
    readings = healthy_readings(fleet, modes, minutes, rng)
    faults = np.zeros((steps, vehicles), dtype=np.int8)
    kinds = tuple(FAULTS)
    for span in spans:
        if not (0 <= span.first < span.last <= steps and 0 <= span.faulty <= vehicles):
            raise ValueError(f"{span} does not fit into {steps} steps of {vehicles} vehicles")
        within = slice(span.first, span.last)
        for turn, column in enumerate(rng.permutation(vehicles)[: span.faulty].tolist()):
            course = Course(fleet[column].kind, readings[within, column], modes[within, column], minutes)
            faults[within, column] = _break_down(kinds[turn % len(kinds)], course, rng)
    times = tuple(start + interval * step for step in range(steps))
    return Telemetry(fleet, times, readings, faults)


def _break_down(name: str, course: Course, rng: np.random.Generator) -> NDArray[np.int8]:
    """Put a fault into a vehicle's readings, beginning in their first half, and return the labels."""
    onset = onset_step(course.modes[: (len(course.modes) + 1) // 2], name, rng)
    acts = FAULTS[name](course.since(onset), rng)
    labels = np.zeros(len(course.modes), dtype=np.int8)
    labels[onset:][acts] = 1 + tuple(FAULTS).index(name)
    return labels


def faults_of_training(steps: int, vehicles: int) -> tuple[FaultSpan, ...]:
    """Return spans that make about 4 % of the records faulty, as a real fleet's unlabelled history is.

    Isolation Forests split between the lowest and the highest value they saw: one that never met a hot motor cannot
    tell a hot one from a warm one.
    """
    if vehicles < len(FAULTS):
        return ()
    length = steps // 12
    starts = (steps // 4, (7 * steps) // 10)
    return tuple(FaultSpan(first, first + length, vehicles // 3) for first in starts if length)


def sample_fleet(now: datetime) -> list[dict[str, Any]]:
    """Return 2,040 records of a fleet with some faults, the newest at ``now`` (with a zone), to train a first model."""
    start = now.replace(microsecond=0) - _SAMPLE_INTERVAL * (_SAMPLE_RECORDS_EACH - 1)
    fleet = generate(
        start=start,
        steps=_SAMPLE_RECORDS_EACH,
        vehicles=_SAMPLE_VEHICLES,
        seed=_SAMPLE_SEED,
        interval=_SAMPLE_INTERVAL,
        spans=faults_of_training(_SAMPLE_RECORDS_EACH, _SAMPLE_VEHICLES),
    )
    return fleet.records()
