"""A plausible vehicle fleet, made by seed: pure, with no clock, no I/O and no network.

It stands in for a real fleet's telemetry in ``telltale simulate`` and in the sample that a new server learns from. It
is no physics model: the sensors move together as they do in a vehicle, which is all that an anomaly detector sees.
"""

from __future__ import annotations

from standalone.fleet.faults import FAULTS
from standalone.fleet.generate import FaultSpan, Telemetry, faults_of_training, generate, sample_fleet
from standalone.fleet.vehicles import FEATURES, VEHICLE_TYPES, Vehicle, VehicleType

__all__ = [
    "FAULTS",
    "FEATURES",
    "VEHICLE_TYPES",
    "FaultSpan",
    "Telemetry",
    "Vehicle",
    "VehicleType",
    "faults_of_training",
    "generate",
    "sample_fleet",
]
