"""How faults begin and develop in a vehicle's readings (PURE).

Each fault starts while the vehicle drives and grows from nothing, as real ones do: its first records are labelled and
cannot be told from healthy ones, so no detector reaches a share of 1 here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from standalone.fleet.drive_cycles import Floats, Modes
from standalone.fleet.vehicles import (
    COOLANT,
    HIGHWAY,
    LOAD,
    MISMATCH,
    PARKED,
    SPEED,
    TYRE,
    URBAN,
    VIBRATION,
    VOLTAGE,
    VehicleType,
)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Course:
    """One vehicle's readings over some time.

    Args:
        kind: the vehicle's type.
        readings: shape ``(steps, features)``; a fault changes it in place.
        modes: shape ``(steps,)``.
        step_minutes: how long a step lasts.

    """

    kind: VehicleType
    readings: Floats
    modes: Modes
    step_minutes: float

    def since(self, step: int) -> Course:
        """Return what follows from ``step`` on, as a view."""
        return Course(self.kind, self.readings[step:], self.modes[step:], self.step_minutes)

    @property
    def running(self) -> Mask:
        """In which steps the motor runs."""
        return np.asarray(self.modes != PARKED, dtype=np.bool_)


# Changes the readings, which begin at the onset, in place and tells in which steps the fault acts on them.
Fault = Callable[[Course, np.random.Generator], Mask]


def overheating(course: Course, rng: np.random.Generator) -> Mask:
    """Coolant is lost: it gets 35 to 50 degrees hotter in about half an hour; fans and friction load the motor."""
    running = course.running
    severity = _growth(np.cumsum(running) * course.step_minutes, rng.uniform(8.0, 12.0))
    course.readings[running, COOLANT] += (rng.uniform(35.0, 50.0) * severity)[running]
    course.readings[running, LOAD] += (20.0 * severity)[running]
    return running


def voltage_sag(course: Course, rng: np.random.Generator) -> Mask:
    """The charger or a cell fails: the voltage sinks by 18 to 26 % within an hour, and dips under load."""
    running = course.running
    severity = _growth(np.cumsum(running) * course.step_minutes, rng.uniform(15.0, 25.0))
    dips = np.abs(rng.normal(0.0, 2.5, len(severity))) + 0.08 * course.readings[:, LOAD]
    course.readings[running, VOLTAGE] -= (severity * (rng.uniform(18.0, 26.0) + dips))[running]
    return running


def tyre_leak(course: Course, rng: np.random.Generator) -> Mask:
    """A tyre loses 30 to 50 % of its pressure over an hour or two, and shakes more the faster it rolls."""
    severity = _growth(np.arange(len(course.modes)) * course.step_minutes, rng.uniform(35.0, 60.0))
    course.readings[:, TYRE] *= 1.0 - rng.uniform(0.30, 0.50) * severity
    pace = course.readings[:, SPEED] / course.kind.top_speed_kmh
    course.readings[:, VIBRATION] *= 1.0 + 1.2 * severity * pace
    return np.ones(len(severity), dtype=np.bool_)


def stuck_sensor(course: Course, rng: np.random.Generator) -> Mask:
    """The speed sensor repeats the reading it had at the onset, whatever the vehicle does."""
    del rng  # nothing about a frozen value is random
    frozen = course.readings[0, SPEED]
    course.readings[:, MISMATCH] += frozen - course.readings[:, SPEED]
    course.readings[:, SPEED] = frozen
    return np.ones(len(course.modes), dtype=np.bool_)


FAULTS: dict[str, Fault] = {
    "overheating": overheating,
    "voltage-sag": voltage_sag,
    "tyre-leak": tyre_leak,
    "stuck-sensor": stuck_sensor,
}


def onset_step(modes: Modes, name: str, rng: np.random.Generator) -> int:
    """Choose the step at which a fault begins: while driving, where there is driving.

    A stuck speed sensor begins on a highway: frozen in town its value would be an everyday one.
    """
    wanted = HIGHWAY if name == "stuck-sensor" else URBAN
    for slowest in (wanted, URBAN):
        steps = np.flatnonzero(modes >= slowest)
        if len(steps):
            return int(rng.choice(steps))
    return 0


def _growth(minutes: NDArray[np.floating[Any]], time_constant: float) -> Floats:
    """Return a severity from 0 that comes near 1 after three time constants."""
    return np.asarray(1.0 - np.exp(-minutes / time_constant), dtype=np.float64)
