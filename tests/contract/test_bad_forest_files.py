"""Forest files that are damaged or made to harm: each is refused in words, soon, and in little memory."""

from __future__ import annotations

import dataclasses
import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.digests import digest_of
from contract.errors import CorruptArtifact
from contract.forest_file import LARGEST_FILE, Forest, decode_forest, encode_forest
from scoring import kernel

Header = dict[str, Any]


def forest(**changes: Any) -> Forest:
    """Two trees: a root with two children, of which the left one is no leaf, and a lone leaf."""
    made = Forest(
        threshold=np.array([0.5, 1.5, 0, 0, 0, 0], np.float32),
        feature=np.array([0, 1, -1, -1, -1, -1], np.int32),
        child=np.array([1, 3, 0, 0, 0, 0], np.int32),
        leaf_value=np.array([0, 0, 1.5, 2.5, 3.5, 4.5]),
        root=np.array([0, 5], np.int32),
        feature_names=("speed", "temp"),
        offset=-0.5,
        normalizer=2.0,
        training_digest="sha256:00",
    )
    return dataclasses.replace(made, **changes)


WHOLE = encode_forest(forest())


def read(data: bytes) -> Forest:
    """Read a file whose digest is right: somebody who changes the file may change the digest too."""
    return decode_forest(data, digest=digest_of(data))


def ints(*values: int) -> Any:
    return np.array(values, np.int32)


def rebuilt(change: Callable[[Header, Header], None]) -> bytes:
    """Return the file after ``change`` of its header, and of our own entry in that."""
    size = int.from_bytes(WHOLE[:8], "little")
    header = json.loads(WHOLE[8 : 8 + size])
    own = json.loads(header["__metadata__"]["telltale"])
    change(header, own)
    header["__metadata__"]["telltale"] = json.dumps(own)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + WHOLE[8 + size :]


def test_the_file_is_sound() -> None:
    """Else nothing below would say anything."""
    assert read(WHOLE).n_trees == read(rebuilt(lambda _header, _own: None)).n_trees == 2


def test_a_file_cut_at_any_place_is_refused() -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(CorruptArtifact, match=r"the forest file|no Telltale forest file"):
            read(WHOLE[:length])


def test_a_file_with_bytes_behind_it_is_refused() -> None:
    with pytest.raises(CorruptArtifact, match="safetensors"):
        read(WHOLE + bytes(8))


def test_any_flipped_bit_is_refused_or_gives_a_forest_that_all_kernels_score_alike() -> None:
    """Every bit, as if its digest were right."""
    X = np.array([[0.0, 1.0], [1.0, 2.0], [-3.4e38, 3.4e38]])
    taken = 0
    for place in range(len(WHOLE) * 8):
        data = bytearray(WHOLE)
        data[place // 8] ^= 1 << place % 8
        try:
            flipped = read(bytes(data))
        except CorruptArtifact as refusal:
            assert str(refusal)  # noqa: PT017 - any other exception fails the test
            continue
        taken += 1
        scores = {kernel.scorer(flipped, kernel=name).score(X).tobytes() for name in kernel.kernels()}
        assert len(scores) == 1
    assert 0 < taken < len(WHOLE) * 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"child": ints(0, 3, 0, 0, 0, 0)}, "a child does not come after its parent"),
        ({"child": ints(1, 1, 0, 0, 0, 0)}, "a child does not come after its parent"),
        ({"child": ints(1, 0, 0, 0, 0, 0)}, "a child does not come after its parent"),
        ({"child": ints(-(2**31), 3, 0, 0, 0, 0)}, "a child does not come after its parent"),
        ({"child": ints(2**31 - 1, 3, 0, 0, 0, 0)}, "a child is out of range"),
        ({"child": ints(1, 5, 0, 0, 0, 0)}, "a child is out of range"),
        ({"child": ints(1, 2, 0, 0, 0, 0)}, "share a node"),
        ({"child": ints(3, 3, 0, 0, 0, 0)}, "share a node"),
        ({"child": ints(1, 4, 0, 0, 0, 0)}, "share a node"),
        ({"root": ints(0, 1)}, "share a node"),
        ({"root": ints(0, 0)}, "share a node"),
        ({"root": ints(0, -1)}, "a root is out of range"),
        ({"root": ints(0, 6)}, "a root is out of range"),
        ({"feature": ints(0, 2, -1, -1, -1, -1)}, "a feature is out of range"),
        ({"feature": ints(0, 2**31 - 1, -1, -1, -1, -1)}, "a feature is out of range"),
        ({"feature": ints(0, -(2**31), -1, -1, -1, -1)}, "a feature is out of range"),
        ({"threshold": np.array([0.5, np.nan, 0, 0, 0, 0], np.float32)}, "a threshold is not finite"),
        ({"threshold": np.array([0.5, -np.inf, 0, 0, 0, 0], np.float32)}, "a threshold is not finite"),
        ({"threshold": np.zeros(5, np.float32)}, "differ in length"),
        ({"leaf_value": np.array([0, 0, 1.5, np.nan, 3.5, 4.5])}, "a leaf's value is not finite"),
        ({"leaf_value": np.array([0, 0, 1.5, -1e300, 3.5, 4.5])}, "path length is below 0"),
    ],
)
def test_what_is_no_forest_is_refused_before_it_is_walked(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CorruptArtifact, match=says):
        read(encode_forest(forest(**changes)))


def test_a_chain_of_shared_nodes_is_refused_at_once() -> None:
    """Its paths double with every node: 2**1000 of them could be walked, or copied."""
    n = 1000
    index = np.arange(n)
    inner = index < n - 2
    chained = forest(
        threshold=np.zeros(n, np.float32),
        feature=np.where(inner, 0, -1).astype(np.int32),
        child=np.where(inner, index + 1, 0).astype(np.int32),
        leaf_value=np.where(inner, 0, 1.0),
        root=ints(0),
    )
    with pytest.raises(CorruptArtifact, match="share a node"):
        read(encode_forest(chained))


DTYPES = ("F64", "F16", "BF16", "F8_E4M3", "F4", "I64", "I32", "U32", "BOOL", "C64", "nothing")


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_of_another_type_is_refused(dtype: str) -> None:
    """Types that safetensors has and numpy has not too."""

    def change(header: Header, _own: Header) -> None:
        header["threshold"]["dtype"] = dtype

    with pytest.raises(CorruptArtifact, match=r"safetensors|array threshold of float32|numpy does not have"):
        read(rebuilt(change))


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F4"])
def test_an_array_of_a_type_that_numpy_does_not_have_is_refused_though_it_is_empty(dtype: str) -> None:
    def change(header: Header, _own: Header) -> None:
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        header["more"] = {"dtype": dtype, "shape": [0], "data_offsets": [end, end]}

    with pytest.raises(CorruptArtifact, match="numpy does not have"):
        read(rebuilt(change))


@pytest.mark.parametrize("shape", [[], [1, 6], [6, 1], [2, 3], [5], [7], [0], [-6], [2**63], [2**62, 4], ["6"], [[6]]])
@pytest.mark.parametrize("name", ["threshold", "root"])
def test_an_array_of_another_shape_is_refused(name: str, shape: list[Any]) -> None:
    def change(header: Header, _own: Header) -> None:
        header[name]["shape"] = shape

    with pytest.raises(CorruptArtifact):
        read(rebuilt(change))


@pytest.mark.parametrize("name", ["threshold", "feature", "child", "leaf_value", "root"])
def test_a_missing_array_is_refused(name: str) -> None:
    def change(header: Header, _own: Header) -> None:
        header[f"not the {name}"] = header.pop(name)

    with pytest.raises(CorruptArtifact, match=f"array {name} of"):
        read(rebuilt(change))


def test_a_newer_format_says_to_upgrade_whatever_else_is_new_in_it() -> None:
    def change(header: Header, own: Header) -> None:
        for name in ("feature_names", "offset", "libraries"):
            del own[name]
        own["format_version"] = 2
        own["trees"] = {"count": 2}
        header["new"] = header.pop("leaf_value")

    with pytest.raises(CorruptArtifact, match="format version 2; this program reads 1: upgrade the reader"):
        read(rebuilt(change))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature_names", "ab"),
        ("feature_names", {"a": 1, "b": 2}),
        ("feature_names", [1, 2]),
        ("feature_names", ["\ud800", "temp"]),
        ("offset", "0.5"),
        ("offset", True),
        ("offset", None),
        ("offset", 10**400),
        ("normalizer", [1]),
        ("training_digest", None),
        ("libraries", []),
        ("libraries", {"numpy": 2}),
    ],
)
def test_metadata_of_another_kind_are_refused_by_name(name: str, value: object) -> None:
    def change(_header: Header, own: Header) -> None:
        own[name] = value

    with pytest.raises(CorruptArtifact, match="metadata is incomplete"):
        read(rebuilt(change))


@pytest.mark.parametrize("name", ["feature_names", "offset", "normalizer", "training_digest", "libraries"])
def test_missing_metadata_are_refused_by_name(name: str) -> None:
    with pytest.raises(CorruptArtifact, match=f"missing required field `{name}`"):
        read(rebuilt(lambda _header, own: own.pop(name)))


def claims(array_bytes: int) -> bytes:
    """Return a file whose header says that its thresholds take so many bytes."""

    def change(header: Header, _own: Header) -> None:
        header["threshold"] |= {"shape": [array_bytes // 4], "data_offsets": [0, array_bytes]}

    return rebuilt(change)


@pytest.mark.parametrize(
    "data",
    [
        (10 * 2**30).to_bytes(8, "little") + WHOLE[8:],
        (2**64 - 1).to_bytes(8, "little") + WHOLE[8:],
        (2 << 20).to_bytes(8, "little") + b" " * (3 << 20),
        claims(10 * 2**30),
        claims(2**63),
        rebuilt(lambda header, _own: header["threshold"].update(shape=[10 * 2**30, 0], data_offsets=[0, 0])),
        WHOLE[:8] + b"[" * (len(WHOLE) - 8),
        b"\x00" * 8 + WHOLE[8:],
        b"",
    ],
    ids=["header of 10 GB", "header of 2**64", "header of 2 MB", "array of 10 GB", "array of 2**63",
         "nothing, 2**33 times", "deep", "no header", "empty"],
)  # fmt: skip
def test_what_claims_to_be_large_is_refused_soon_and_in_little_memory(data: bytes) -> None:
    digest = digest_of(data)
    tracemalloc.start()
    begun = time.monotonic()
    with pytest.raises(CorruptArtifact):
        decode_forest(data, digest=digest)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
    assert time.monotonic() - begun < 1


def test_a_file_beyond_the_limit_is_refused_before_its_digest_is_made() -> None:
    class Large(bytes):
        def __len__(self) -> int:
            return LARGEST_FILE + 1

    with pytest.raises(CorruptArtifact, match=f"the limit is {LARGEST_FILE}"):
        decode_forest(Large(), digest="sha256:no")


@given(st.binary(max_size=400), st.booleans())
def test_bytes_of_any_kind_are_refused(data: bytes, framed: bool) -> None:
    """Also behind a length that fits them."""
    with pytest.raises(CorruptArtifact):
        read(len(data).to_bytes(8, "little") + data if framed else data)
