"""The simulated fleet: plausible, labelled, and the same for the same seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from contract.columns import to_batch
from contract.telemetry import Limits, decode_ingest
from standalone.fleet import (
    FAULTS,
    FEATURES,
    VEHICLE_TYPES,
    FaultSpan,
    Telemetry,
    faults_of_training,
    generate,
    sample_fleet,
)
from standalone.fleet.vehicles import COOLANT, MISMATCH, RPM, SPEED, TYRE, VOLTAGE

START = datetime(2024, 1, 15, tzinfo=UTC)


def fleet(seed: int = 1, spans: tuple[FaultSpan, ...] = (), vehicles: int = 8, steps: int = 600) -> Telemetry:
    return generate(start=START, steps=steps, vehicles=vehicles, seed=seed, spans=spans)


def test_the_same_seed_makes_the_same_records_and_another_seed_others() -> None:
    spans = (FaultSpan(100, 400, 4),)
    assert fleet(1, spans).records() == fleet(1, spans).records()
    assert fleet(1, spans).labels() == fleet(1, spans).labels()
    assert fleet(1, spans).records() != fleet(2, spans).records()


def test_records_come_by_time_then_vehicle_with_a_label_and_a_type_each() -> None:
    telemetry = fleet(steps=3, vehicles=5)
    records = telemetry.records()
    assert [record["vehicle_id"] for record in records[:5]] == [
        "van-001",
        "truck-002",
        "bus-003",
        "electric-car-004",
        "van-005",
    ]
    assert [record["timestamp"] for record in records[::5]] == [
        "2024-01-15T00:00:00+00:00",
        "2024-01-15T00:01:00+00:00",
        "2024-01-15T00:02:00+00:00",
    ]
    assert len(records) == len(telemetry) == len(telemetry.labels()) == len(telemetry.vehicle_types()) == 15
    assert telemetry.vehicle_types()[:5] == ["van", "truck", "bus", "electric-car", "van"]
    assert set(telemetry.labels()) == {None}


def test_readings_stay_in_plausible_ranges() -> None:
    readings = fleet(steps=2000, vehicles=16).readings
    assert np.isfinite(readings).all()
    low, high = readings.min(axis=(0, 1)), readings.max(axis=(0, 1))
    expected = {
        "speed_kmh": (0, 140),
        "speed_mismatch_kmh": (-4, 4),
        "motor_rpm_percent": (0, 115),
        "motor_load_percent": (0, 100),
        "coolant_over_normal_c": (-60, 10),
        "voltage_percent": (85, 104),
        "tyre_pressure_percent": (92, 110),
        "vibration_g": (0, 1.2),
    }
    assert tuple(expected) == FEATURES
    for position, (least, most) in enumerate(expected.values()):
        assert least <= low[position] <= high[position] <= most, FEATURES[position]


def test_every_type_parks_idles_and_drives_and_its_sensors_move_together() -> None:
    telemetry = fleet(steps=3000, vehicles=4)
    for column, kind in enumerate(VEHICLE_TYPES):
        speed, rpm = telemetry.readings[:, column, SPEED], telemetry.readings[:, column, RPM]
        assert (speed == 0).any(), kind.name
        assert (speed > 60).any(), kind.name
        assert (speed <= kind.top_speed_kmh).all(), kind.name
        assert np.corrcoef(speed, rpm)[0, 1] > 0.8, kind.name


@pytest.mark.parametrize(
    ("name", "column", "sign", "least"),
    [
        ("overheating", COOLANT, 1, 25.0),
        ("voltage-sag", VOLTAGE, -1, 12.0),
        ("tyre-leak", TYRE, -1, 20.0),
    ],
)
def test_a_fault_begins_unseen_and_grows(name: str, column: int, sign: int, least: float) -> None:
    code = 1 + list(FAULTS).index(name)
    healthy, faulty = fleet(steps=500), fleet(steps=500, spans=(FaultSpan(100, 500, 8),))
    shift = sign * (faulty.readings - healthy.readings)[:, :, column]
    for vehicle in np.flatnonzero((faulty.faults == code).any(axis=0)):
        steps = np.flatnonzero(faulty.faults[:, vehicle] == code)
        assert 100 <= steps[0] < 300
        assert abs(shift[steps[0], vehicle]) < least / 3
        assert shift[steps[-20:], vehicle].mean() > least
        assert (shift[: steps[0], vehicle] == 0).all()


def test_a_stuck_sensor_repeats_its_reading_and_departs_from_the_satellites() -> None:
    faulty = fleet(steps=500, spans=(FaultSpan(100, 500, 8),))
    code = 1 + list(FAULTS).index("stuck-sensor")
    for vehicle in np.flatnonzero((faulty.faults == code).any(axis=0)):
        acts = faulty.faults[:, vehicle] == code
        assert len(set(faulty.readings[acts, vehicle, SPEED].tolist())) == 1
        assert np.abs(faulty.readings[acts, vehicle, MISMATCH]).max() > 30


def test_a_fault_is_repaired_at_the_end_of_its_span() -> None:
    healthy, faulty = fleet(), fleet(spans=(FaultSpan(100, 300, 8),))
    assert set(faulty.labels()) == {None, *FAULTS}
    assert not faulty.faults[:100].any()
    assert not faulty.faults[300:].any()
    assert (healthy.readings[300:] == faulty.readings[300:]).all()


def test_training_time_has_few_faults_and_a_tiny_fleet_none() -> None:
    telemetry = fleet(steps=1440, vehicles=24, spans=faults_of_training(1440, 24))
    assert 0.01 < (telemetry.faults > 0).mean() < 0.05
    assert faults_of_training(1440, 3) == ()
    assert faults_of_training(5, 24) == ()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_isolation_forest_finds_most_faulty_records_and_flags_few_healthy_ones(seed: int) -> None:
    spans = (*faults_of_training(1440, 24), FaultSpan(1440, 1800, 8))
    telemetry = fleet(seed, spans, vehicles=24, steps=1800)
    past, present = telemetry.steps(0, 1440), telemetry.steps(1440, 1800)
    forest = IsolationForest(n_estimators=200, contamination=0.05, random_state=0)
    forest.fit(past.readings.reshape(-1, len(FEATURES)))
    flagged = forest.decision_function(present.readings.reshape(-1, len(FEATURES))) < 0
    faulty = present.faults.ravel() > 0
    assert flagged[faulty].mean() > 0.6
    assert flagged[~faulty].mean() < 0.06


def test_the_sample_fleet_is_a_batch_that_the_contract_takes() -> None:
    now = datetime(2024, 1, 15, 10, 30, 5, 999, tzinfo=UTC)
    records = sample_fleet(now)
    body = msgspec.json.encode({"records": records, "model": "sample-fleet"})
    batch = to_batch(decode_ingest(body, now=now, limits=Limits()), FEATURES)
    assert batch.X.shape == (2040, len(FEATURES))
    assert records[-1]["timestamp"] == "2024-01-15T10:30:05+00:00"
    assert records == sample_fleet(now)


def test_the_sample_fleet_takes_a_time_in_any_zone() -> None:
    records = sample_fleet(datetime(2024, 1, 15, 10, tzinfo=timezone(timedelta(hours=2))))
    assert records[-1]["timestamp"] == "2024-01-15T10:00:00+02:00"


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        generate(start=START.replace(tzinfo=None), steps=1, vehicles=1, seed=1)
    with pytest.raises(ValueError, match="at least one step"):
        generate(start=START, steps=0, vehicles=1, seed=1)
    with pytest.raises(ValueError, match="does not fit"):
        fleet(spans=(FaultSpan(0, 601, 1),))
    with pytest.raises(ValueError, match="does not fit"):
        fleet(spans=(FaultSpan(0, 600, 9),))


def test_a_span_of_one_step_still_has_its_fault() -> None:
    assert (fleet(steps=1, vehicles=4, spans=(FaultSpan(0, 1, 4),)).faults >= 0).all()
