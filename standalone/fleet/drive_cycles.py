"""What healthy vehicles report while they park, idle, drive in town and on highways (PURE).

The speed comes first; load, motor speed, temperature, voltage, pressure, vibration and power follow from it with their
own lags and noise, so that they are correlated as in a vehicle. Arrays are time by vehicle; only time is looped over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from standalone.fleet.vehicles import FEATURES, HIGHWAY, PARKED, Vehicle

Floats = NDArray[np.float64]
Modes = NDArray[np.int8]

# By mode: parked, idle, urban, highway.
_MEAN_MINUTES = np.array([35.0, 6.0, 22.0, 45.0])
_MEAN_SPEED_KMH = np.array([0.0, 0.0, 34.0, 98.0])
_SPEED_SPREAD_KMH = np.array([0.0, 0.0, 13.0, 7.0])
_AMBIENT_C = 16.0
_PARKED_MINUTES_TO_COOL = 300.0
_TYRE_LAG_MINUTES = 15.0


def drive_modes(vehicles: Sequence[Vehicle], steps: int, minutes: float, rng: np.random.Generator) -> Modes:
    """Return the mode of each vehicle at each step, shape ``(steps, vehicles)``; a step lasts ``minutes``."""
    modes = np.empty((steps, len(vehicles)), dtype=np.int8)
    for column, vehicle in enumerate(vehicles):
        trips = rng.choice(HIGHWAY + 1, size=steps, p=_trip_shares(vehicle))
        lengths = rng.gamma(3.0, _MEAN_MINUTES[trips] / 3.0) / minutes
        modes[:, column] = np.repeat(trips, np.maximum(1, lengths.round().astype(int)))[:steps]
    return modes


def _trip_shares(vehicle: Vehicle) -> Floats:
    """Return how often each mode is begun, so that the time spent in it has the type's shares."""
    begun = np.array(vehicle.kind.cycle) / _MEAN_MINUTES
    return np.asarray(begun / begun.sum(), dtype=np.float64)


def healthy_readings(vehicles: Sequence[Vehicle], modes: Modes, minutes: float, rng: np.random.Generator) -> Floats:
    """Return what the sensors read, shape ``(steps, vehicles, features)`` in the order of ``FEATURES``."""
    running = modes != PARKED
    speed = _speeds(vehicles, modes, minutes, rng)
    pace = speed / _of(vehicles, "top_speed_kmh")
    load = _loads(speed, pace, running, rng)
    coolant = _coolant(vehicles, load, running, minutes, rng)
    readings = {
        "speed_kmh": speed,
        "speed_mismatch_kmh": rng.normal(0.0, 0.5, speed.shape) * (speed > 0.0),
        "motor_rpm_percent": _motor_rpm(vehicles, pace, running, rng),
        "motor_load_percent": load,
        "coolant_over_normal_c": coolant,
        "voltage_percent": _voltage(vehicles, load, running, rng),
        "tyre_pressure_percent": _tyre_pressure(vehicles, pace, minutes, rng),
        "vibration_g": _vibration(vehicles, pace, running, rng),
    }
    return np.stack([readings[name] for name in FEATURES], axis=2)


def _of(vehicles: Sequence[Vehicle], field: str) -> Floats:
    """Return a field of each vehicle's type as a row."""
    return np.array([getattr(vehicle.kind, field) for vehicle in vehicles], dtype=np.float64)


def _own(vehicles: Sequence[Vehicle], field: str) -> Floats:
    """Return a field of each vehicle itself as a row."""
    return np.array([getattr(vehicle, field) for vehicle in vehicles], dtype=np.float64)


def _lagged(target: Floats, share: Floats, first: Floats) -> Floats:
    """Follow ``target`` with a first-order lag: each step covers ``share`` of what is left."""
    values = np.empty_like(target)
    value = first
    for step in range(len(target)):
        value = value + share[step] * (target[step] - value)
        values[step] = value
    return values


def _speeds(vehicles: Sequence[Vehicle], modes: Modes, minutes: float, rng: np.random.Generator) -> Floats:
    top = _of(vehicles, "top_speed_kmh")
    mean = np.minimum(_MEAN_SPEED_KMH[modes], 0.86 * top)
    noise = rng.normal(0.0, 1.0, modes.shape)
    wander = _lagged(noise * 2.2, np.full(modes.shape, 1 - np.exp(-minutes / 2.0)), noise[0])
    target = np.clip(mean + _SPEED_SPREAD_KMH[modes] * np.clip(wander, -3.0, 3.0), 0.0, top)
    speed = _lagged(target, np.full(modes.shape, 1 - np.exp(-minutes / 0.6)), target[0])
    return np.where((mean == 0.0) | (speed < 2.0), 0.0, speed)


def _loads(speed: Floats, pace: Floats, running: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    accelerating = np.diff(speed, axis=0, prepend=speed[:1])
    load = 9.0 + 12.0 * pace + 38.0 * pace**2 + 0.35 * accelerating + rng.normal(0.0, 2.5, speed.shape)
    return np.where(running, np.clip(load, 2.0, 100.0), 0.0)


def _motor_rpm(
    vehicles: Sequence[Vehicle], pace: Floats, running: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """Return the motor's speed: gears make it rise faster at first; an electric motor is geared straight."""
    idle = _of(vehicles, "idle_rpm_percent")
    geared = np.where(idle > 0.0, pace**0.8, pace)
    rpm = (idle + (100.0 - idle) * geared) * rng.normal(1.0, 0.02, pace.shape)
    return np.where(running, rpm, 0.0)


def _coolant(
    vehicles: Sequence[Vehicle],
    load: Floats,
    running: NDArray[np.bool_],
    minutes: float,
    rng: np.random.Generator,
) -> Floats:
    warm = _own(vehicles, "coolant_offset_c")
    ambient = _AMBIENT_C + rng.normal(0.0, 2.0, len(vehicles)) - _of(vehicles, "warm_coolant_c")
    target = np.where(running, warm + 0.05 * load, ambient)
    lag = np.where(running, _of(vehicles, "warm_up_minutes"), _PARKED_MINUTES_TO_COOL)
    first = np.where(running[0], warm, warm - rng.uniform(0.0, 15.0, len(vehicles)))
    return _lagged(target, 1 - np.exp(-minutes / lag), first) + rng.normal(0.0, 0.4, load.shape)


def _voltage(vehicles: Sequence[Vehicle], load: Floats, running: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    sag = _of(vehicles, "load_sag_percent") * load / 100.0
    level = np.where(running, 100.0 - sag, _of(vehicles, "resting_voltage_percent"))
    return np.asarray(level + _own(vehicles, "voltage_offset_percent") + rng.normal(0.0, 0.3, load.shape))


def _tyre_pressure(vehicles: Sequence[Vehicle], pace: Floats, minutes: float, rng: np.random.Generator) -> Floats:
    """Return the pressure of the softest tyre; rolling warms it by some percent."""
    share = np.full(pace.shape, 1 - np.exp(-minutes / _TYRE_LAG_MINUTES))
    warmth = _lagged(pace, share, pace[0])
    own = _own(vehicles, "tyre_offset_percent")
    return np.asarray(99.0 + own + 5.0 * warmth + rng.normal(0.0, 0.3, pace.shape))


def _vibration(
    vehicles: Sequence[Vehicle], pace: Floats, running: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    shape = np.where(running, 0.12 + 0.88 * pace**1.3, 0.01)
    level = _of(vehicles, "vibration_g") * _own(vehicles, "vibration_factor")
    return np.asarray(level * shape * rng.lognormal(0.0, 0.10, pace.shape))
