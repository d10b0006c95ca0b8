from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.digests import digest_of
from contract.errors import CorruptArtifact
from contract.forest_file import Forest, decode_forest, encode_forest


def forest(**changes: Any) -> Forest:
    """One stump: x0 <= 0.5 ends in leaf 1, else in leaf 2."""
    made = Forest(
        threshold=np.array([0.5, 0, 0], np.float32),
        feature=np.array([0, -1, -1], np.int32),
        child=np.array([1, 0, 0], np.int32),
        leaf_value=np.array([0, 1.5, 2.5]),
        root=np.array([0], np.int32),
        feature_names=("speed", "temp"),
        offset=-0.5,
        normalizer=1.0,
        training_digest="sha256:00",
        libraries={"scikit-learn": "1.8.0"},
    )
    return dataclasses.replace(made, **changes)


def read(data: bytes) -> Forest:
    return decode_forest(data, digest=digest_of(data))


def test_a_forest_comes_back_as_it_went_in() -> None:
    back = read(encode_forest(forest()))
    for field in dataclasses.fields(Forest):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(forest(), field.name))


def test_the_same_forest_gives_the_same_bytes() -> None:
    assert encode_forest(forest(libraries={"a": "1", "b": "2"})) == encode_forest(
        forest(libraries={"b": "2", "a": "1"})
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"child": np.array([2, 0, 0], np.int32)}, "child is out of range"),
        ({"child": np.array([0, 0, 0], np.int32)}, "does not come after its parent"),
        ({"child": np.array([-5, 0, 0], np.int32)}, "does not come after its parent"),
        ({"feature": np.array([2, -1, -1], np.int32)}, "feature is out of range"),
        ({"feature": np.array([-2, -1, -1], np.int32)}, "feature is out of range"),
        ({"root": np.array([3], np.int32)}, "root is out of range"),
        ({"root": np.array([], np.int32)}, "no tree"),
        ({"threshold": np.array([np.nan, 0, 0], np.float32)}, "threshold is not finite"),
        ({"leaf_value": np.array([0, np.inf, 1])}, "leaf's value is not finite"),
        ({"leaf_value": np.array([0.0, 1.0])}, "differ in length"),
        ({"offset": float("nan")}, "offset is not finite"),
        ({"normalizer": -1.0}, "normalizer"),
        ({"feature_names": ("a", "a")}, "twice"),
        ({"feature_names": ()}, "names no feature"),
    ],
)
def test_a_forest_that_is_not_safe_to_walk_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CorruptArtifact, match=says):
        read(encode_forest(forest(**changes)))


def test_another_digest_is_refused_before_anything_is_read() -> None:
    data = encode_forest(forest())
    with pytest.raises(CorruptArtifact, match="digest"):
        decode_forest(data + b"x", digest=digest_of(data))


def test_a_newer_format_says_to_upgrade() -> None:
    data = encode_forest(forest()).replace(b'\\"format_version\\": 1', b'\\"format_version\\": 2')
    with pytest.raises(CorruptArtifact, match=r"version 2.*upgrade"):
        read(data)


def test_a_header_that_claims_ten_gigabytes_is_refused_unread() -> None:
    data = (10 * 2**30).to_bytes(8, "little") + encode_forest(forest())[8:]
    with pytest.raises(CorruptArtifact, match="header claims 10737418240"):
        read(data)


def test_metadata_of_another_kind_is_refused() -> None:
    header = json.dumps({"__metadata__": {"telltale": json.dumps({"format": "telltale-forest", "format_version": 1})}})
    with pytest.raises(CorruptArtifact):
        read(len(header).to_bytes(8, "little") + header.encode())


@given(st.integers(0, 600))
def test_a_truncated_file_is_refused(length: int) -> None:
    data = encode_forest(forest())
    with pytest.raises(CorruptArtifact):
        read(data[: min(length, len(data) - 1)])


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_noticed_or_harmless_but_never_a_crash(position: int, bit: int) -> None:
    data = bytearray(encode_forest(forest()))
    data[position % len(data)] ^= 1 << bit
    with pytest.raises(CorruptArtifact):
        decode_forest(bytes(data), digest=digest_of(encode_forest(forest())))
    try:
        read(bytes(data))  # somebody who can also change the digest
    except CorruptArtifact as refusal:
        assert str(refusal)  # noqa: PT017 - both outcomes are right; any other exception fails the test
