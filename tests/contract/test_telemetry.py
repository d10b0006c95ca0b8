from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.columns import Batch, signature_of, to_batch
from contract.errors import InvalidInput, Malformed
from contract.telemetry import Limits, decode_ingest, decode_score

NOW = datetime(2024, 1, 15, 12, 0, tzinfo=UTC)
LIMITS = Limits(records=5, features=4, id_characters=32)
GOOD: dict[str, Any] = {"vehicle_id": "VH-1", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [0.5, 1, -2.0]}


def ingest(*records: object, **fields: object) -> bytes:
    return json.dumps({"records": list(records), **fields}).encode()


def refusal(body: bytes, *, limits: Limits = LIMITS) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        columns(body, limits)
    return caught.value


def columns(body: bytes, limits: Limits) -> Batch:
    request = decode_ingest(body, now=NOW, limits=limits)
    return to_batch(request, signature_of(request.records[0], limits))


def test_a_good_batch_becomes_columns() -> None:
    request = decode_ingest(ingest(GOOD, GOOD | {"vehicle_id": "VH-2"}), now=NOW, limits=LIMITS)
    batch = to_batch(request, signature_of(request.records[0], LIMITS))
    assert batch.feature_names == ("f0", "f1", "f2")
    assert batch.vehicle_ids == ["VH-1", "VH-2"]
    assert batch.timestamps.tolist() == [1705312800000000] * 2
    np.testing.assert_array_equal(batch.X, [[0.5, 1, -2], [0.5, 1, -2]])


def test_named_features_take_the_first_records_order() -> None:
    first = {"vehicle_id": "a", "timestamp": GOOD["timestamp"], "features": {"rpm": 1, "coolant": 2}}
    second = {"vehicle_id": "b", "timestamp": GOOD["timestamp"], "features": {"coolant": 4, "rpm": 3}}
    request = decode_ingest(ingest(first, second), now=NOW, limits=LIMITS)
    batch = to_batch(request, signature_of(request.records[0], LIMITS))
    assert batch.feature_names == ("rpm", "coolant")
    np.testing.assert_array_equal(batch.X, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"vehicle_id": 7}, "/records/1/vehicle_id", "must be a string; got a number: 7"),
        ({"vehicle_id": ""}, "/records/1/vehicle_id", "1 to 32 characters; got 0"),
        ({"vehicle_id": "x" * 10_000}, "/records/1/vehicle_id", "got 10000"),
        ({"vehicle_id": "a\u0000b"}, "/records/1/vehicle_id", "printable"),
        ({"timestamp": "2024-01-15T10:00:00"}, "/records/1/timestamp", "time zone"),
        ({"timestamp": "yesterday"}, "/records/1/timestamp", "RFC 3339"),
        ({"timestamp": 1705312800}, "/records/1/timestamp", "must be a string"),
        ({"timestamp": "1970-12-31T23:59:59Z"}, "/records/1/timestamp", "not be before 1971"),
        ({"timestamp": "2024-01-16T12:00:01Z"}, "/records/1/timestamp", "24 h ahead"),
        ({"feature_vector": [1, "2", 3]}, "/records/1/feature_vector/1", "must be a number; got a string"),
        ({"feature_vector": [1, True, 3]}, "/records/1/feature_vector/1", "got a boolean"),
        ({"feature_vector": [1, None, 3]}, "/records/1/feature_vector/1", "got null"),
        ({"feature_vector": [1, 2]}, "/records/1/feature_vector", "expects 3 values (f0, f1, f2); got 2"),
        ({"feature_vector": [1, 2, 1e39]}, "/records/1/feature_vector/2", "float32"),
        ({"feature_vector": {"f0": 1}}, "/records/1/feature_vector", "must be an array of numbers"),
        ({"features": {"f0": 1}}, "/records/1", "either feature_vector or features; got both"),
        ({"feature_vector": None}, "/records/1", "got neither"),
        (
            {"feature_vector": None, "features": {"f0": 1, "f1": 2, "oil": 3}},
            "/records/1/features",
            "missing f2; not in the model: oil",
        ),
        ({"speed": 3}, "/records/1/speed", "is not a field here"),
    ],
)
def test_a_bad_record_is_refused_by_place_rule_and_value(change: dict[str, Any], pointer: str, says: str) -> None:
    error = refusal(ingest(GOOD, GOOD | {"vehicle_id": "VH-2"} | change))
    assert error.faults[0].pointer == pointer
    assert says in error.faults[0].detail


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400])
def test_numbers_beyond_a_double_are_refused_by_place(number: str) -> None:
    body = ingest(GOOD, GOOD | {"vehicle_id": "VH-2", "feature_vector": [1, 2, 77777]}).replace(
        b"77777", number.encode()
    )
    error = refusal(body)
    assert error.faults[0].pointer == "/records/1/feature_vector/2"
    assert "finite" in error.faults[0].detail


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not complete JSON"),
        (b'{"records": [', "not complete JSON"),
        (b'{"records": [NaN]}', "no NaN or Infinity"),
        (b'{"records": [Infinity]}', "no NaN or Infinity"),
        (b'{"records": "\xff\xfe"}', "must be UTF-8; byte 13 is 0xff"),
        (b"[" * 100_000, "nested too deeply"),
        (b"records=1", "must be JSON"),
    ],
)
def test_what_is_not_json_is_malformed(body: bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        decode_ingest(body, now=NOW, limits=LIMITS)


def test_counts_are_limited_both_ways() -> None:
    assert "at least one record" in refusal(ingest()).faults[0].detail
    many = [GOOD | {"vehicle_id": f"VH-{i}"} for i in range(6)]
    fault = refusal(ingest(*many)).faults[0]
    assert (fault.pointer, fault.value, fault.limit) == ("/records", "6", "5")


def test_the_same_vehicle_and_time_twice_is_refused_naming_both() -> None:
    again = GOOD | {"timestamp": "2024-01-15T11:00:00+01:00"}
    error = refusal(ingest(GOOD, GOOD | {"vehicle_id": "VH-2"}, again))
    assert error.faults[0].pointer == "/records/2"
    assert "first as /records/0" in error.faults[0].detail


@pytest.mark.parametrize("name", ["", "Default", "a/b", "../x", "x" * 64, "-a", "ü"])
def test_a_model_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    assert refusal(ingest(GOOD, model=name)).faults[0].pointer == "/model"


def test_a_feature_cannot_take_the_name_of_a_records_own_field() -> None:
    record = {"vehicle_id": "a", "timestamp": GOOD["timestamp"], "features": {"timestamp": 1}}
    assert "own field" in refusal(ingest(record)).faults[0].detail


def test_only_the_first_faults_are_listed_and_the_rest_counted() -> None:
    bad = [{"vehicle_id": i} for i in range(20)]
    error = refusal(ingest(*bad), limits=Limits(records=100))
    assert len(error.faults) == 10
    assert error.more == 20 * 2 - 10


def test_a_lone_record_and_an_array_score_alike() -> None:
    lone, was_array = decode_score(json.dumps(GOOD).encode(), now=NOW, limits=LIMITS)
    many, are_array = decode_score(json.dumps([GOOD, GOOD]).encode(), now=NOW, limits=LIMITS)
    assert (len(lone), was_array, len(many), are_array) == (1, False, 2, True)
    assert lone[0].model is None  # the server has its own default


def test_faults_of_a_lone_record_have_no_index() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_score(json.dumps(GOOD | {"vehicle_id": None}).encode(), now=NOW, limits=LIMITS)
    assert caught.value.faults[0].pointer == "/vehicle_id"


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["records", "vehicle_id", "features", "x"]), inner),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_is_taken_or_refused_and_never_breaks(value: object) -> None:
    body = json.dumps(value).encode()
    for decode in (decode_ingest, decode_score):
        with contextlib.suppress(InvalidInput, Malformed):
            decode(body, now=NOW, limits=LIMITS)


def test_a_time_at_the_edge_of_the_calendar_is_refused_not_crashed_on() -> None:
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert refusal(ingest(GOOD | {"timestamp": text})).faults[0].pointer == "/records/0/timestamp"
    assert timedelta(hours=24) == LIMITS.ahead
