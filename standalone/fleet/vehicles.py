"""Vehicle types and the sensors they share (PURE).

Every type reports the same eight features, so that one model fits a mixed fleet. Where types differ, a feature is given
against what is normal for the type: a truck's 28 V and a car's 400 V say the same thing only as shares.

=======================  ==========================================================================
feature                  meaning
=======================  ==========================================================================
speed_kmh                from the wheels
speed_mismatch_kmh       wheel speed minus satellite speed
motor_rpm_percent        motor speed in percent of that at top speed
motor_load_percent       power in percent of what the motor can give; fuel or energy rate follows it
coolant_over_normal_c    coolant temperature minus the type's working temperature
voltage_percent          board net, or pack of an electric vehicle, in percent of the running voltage
tyre_pressure_percent    softest tyre, in percent of the placard
vibration_g              root mean square of the chassis acceleration
=======================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPEED, MISMATCH, RPM, LOAD, COOLANT, VOLTAGE, TYRE, VIBRATION = range(8)
FEATURES = (
    "speed_kmh",
    "speed_mismatch_kmh",
    "motor_rpm_percent",
    "motor_load_percent",
    "coolant_over_normal_c",
    "voltage_percent",
    "tyre_pressure_percent",
    "vibration_g",
)
PARKED, IDLE, URBAN, HIGHWAY = range(4)


@dataclass(frozen=True)
class VehicleType:
    """What is normal for one type of vehicle.

    Args:
        name: as it stands in vehicle ids and tables.
        top_speed_kmh: no reading is faster.
        idle_rpm_percent: motor speed at a standstill; 0 for an electric motor.
        warm_coolant_c: coolant's working temperature.
        warm_up_minutes: time constant of warming up.
        resting_voltage_percent: voltage when parked, in percent of the running voltage.
        load_sag_percent: how far full load pulls the voltage down.
        vibration_g: root mean square of the acceleration at top speed.
        cycle: share of trips spent parked, idle, urban and on a highway; sums to 1.

    """

    name: str
    top_speed_kmh: float
    idle_rpm_percent: float
    warm_coolant_c: float
    warm_up_minutes: float
    resting_voltage_percent: float
    load_sag_percent: float
    vibration_g: float
    cycle: tuple[float, float, float, float]


VEHICLE_TYPES = (
    VehicleType(
        name="van",
        top_speed_kmh=130.0,
        idle_rpm_percent=25.0,
        warm_coolant_c=88.0,
        warm_up_minutes=5.0,
        resting_voltage_percent=90.0,
        load_sag_percent=1.5,
        vibration_g=0.42,
        cycle=(0.14, 0.16, 0.50, 0.20),
    ),
    VehicleType(
        name="truck",
        top_speed_kmh=92.0,
        idle_rpm_percent=35.0,
        warm_coolant_c=86.0,
        warm_up_minutes=8.0,
        resting_voltage_percent=90.5,
        load_sag_percent=1.2,
        vibration_g=0.55,
        cycle=(0.12, 0.14, 0.20, 0.54),
    ),
    VehicleType(
        name="bus",
        top_speed_kmh=100.0,
        idle_rpm_percent=32.0,
        warm_coolant_c=85.0,
        warm_up_minutes=7.0,
        resting_voltage_percent=90.5,
        load_sag_percent=1.8,
        vibration_g=0.48,
        cycle=(0.10, 0.22, 0.60, 0.08),
    ),
    VehicleType(
        name="electric-car",
        top_speed_kmh=140.0,
        idle_rpm_percent=0.0,
        warm_coolant_c=36.0,
        warm_up_minutes=12.0,
        resting_voltage_percent=100.5,
        load_sag_percent=4.0,
        vibration_g=0.26,
        cycle=(0.22, 0.08, 0.48, 0.22),
    ),
)


@dataclass(frozen=True)
class Vehicle:
    """One vehicle: its type, and how it differs from the type's average.

    Args:
        vehicle_id: such as ``truck-007``.
        kind: its type.
        coolant_offset_c: its thermostat's difference, in degrees.
        voltage_offset_percent: its regulator's or cell state's difference.
        tyre_offset_percent: how its tyres were filled, against the placard.
        vibration_factor: its wear and tyres, as a factor around 1.

    """

    vehicle_id: str
    kind: VehicleType
    coolant_offset_c: float
    voltage_offset_percent: float
    tyre_offset_percent: float
    vibration_factor: float


def make_vehicles(count: int, rng: np.random.Generator) -> tuple[Vehicle, ...]:
    """Return ``count`` vehicles, the types in turn."""
    return tuple(_vehicle(number, rng) for number in range(count))


def _vehicle(number: int, rng: np.random.Generator) -> Vehicle:
    kind = VEHICLE_TYPES[number % len(VEHICLE_TYPES)]
    return Vehicle(
        vehicle_id=f"{kind.name}-{number + 1:03d}",
        kind=kind,
        coolant_offset_c=float(rng.normal(0.0, 1.0)),
        voltage_offset_percent=float(rng.normal(0.0, 0.4)),
        tyre_offset_percent=float(rng.normal(0.0, 1.2)),
        vibration_factor=float(rng.lognormal(0.0, 0.06)),
    )
