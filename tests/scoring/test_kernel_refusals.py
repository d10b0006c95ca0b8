"""What the kernels refuse: records and rows that cannot be scored, and forests that cannot be walked or held."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import scoring
import scoring.kernel
from contract.errors import CorruptArtifact
from contract.forest_file import Forest, check_structure
from scoring.errors import OutOfRange
from scoring.kernel import first_bad, kernel_name, kernels, scorer
from scoring.reference import decision_function
from tests.contract.test_forest_file import forest as stump
from tests.scoring.forests import random_forest

IN_C = [kernel for kernel in kernels() if kernel != "numpy"]
each_kernel = pytest.mark.parametrize("kernel", kernels())
each_c_kernel = pytest.mark.parametrize("kernel", IN_C)


@pytest.fixture
def _no_extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "scoring._kernel", None)
    monkeypatch.delattr(scoring, "_kernel", raising=False)
    scoring.kernel._extension.cache_clear()
    yield
    scoring.kernel._extension.cache_clear()


@pytest.fixture(params=["in C", "in numpy"])
def _first_bad_of(request: pytest.FixtureRequest) -> None:
    if request.param == "in numpy":
        request.getfixturevalue("_no_extension")


@each_kernel
@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], ()])
def test_a_record_of_another_length_is_refused(kernel: str, values: list[float]) -> None:
    with pytest.raises(ValueError, match=f"a record of 2 features is expected; got {len(values)}") as refusal:
        scorer(stump(), kernel=kernel).score_record(values)
    assert not isinstance(refusal.value, OutOfRange)


@each_kernel
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e39, 3.4028236e38, 10**39])
def test_a_value_that_float32_does_not_hold_is_refused_by_its_place(kernel: str, value: float) -> None:
    with pytest.raises(OutOfRange, match=r"feature 1 is .*float32's range"):
        scorer(stump(), kernel=kernel).score_record([0.0, value])


@each_kernel
def test_an_integer_too_large_for_any_float_is_refused_without_being_shown(kernel: str) -> None:
    with pytest.raises(OutOfRange, match="beyond float32's range"):
        scorer(stump(), kernel=kernel).score_record([0.0, 10**5000])


@each_kernel
def test_the_largest_float32_is_taken(kernel: str) -> None:
    largest = float(np.finfo(np.float32).max)
    made = scorer(stump(), kernel=kernel)
    assert made.score_record([largest, -largest]) == made.score_record([9.0, 0.0])


@each_kernel
@pytest.mark.parametrize("value", ["1", b"1", None, [1.0], 1j, {}])
def test_a_value_that_is_no_number_is_refused(kernel: str, value: Any) -> None:
    with pytest.raises(TypeError):
        scorer(stump(), kernel=kernel).score_record([0.0, value])


@each_kernel
@pytest.mark.parametrize("values", [None, 1.0, "ab", {0: 1.0, 1: 2.0}, np.zeros(2), iter([1.0, 2.0])])
def test_a_record_is_a_list_or_a_tuple(kernel: str, values: Any) -> None:
    with pytest.raises(TypeError, match="a list or a tuple of numbers"):
        scorer(stump(), kernel=kernel).score_record(values)


class Shrinking:
    """A number that empties the list that it is in while it is read."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __float__(self) -> float:
        self.values.clear()
        return 0.0


@each_c_kernel
@pytest.mark.parametrize("at", [0, 7])
def test_a_list_that_shrinks_while_it_is_read_is_refused(kernel: str, at: int) -> None:
    values: list[Any] = [0.0] * 8
    values[at] = Shrinking(values)
    made = scorer(stump(feature_names=tuple("abcdefgh")), kernel=kernel)
    with pytest.raises(ValueError, match="a record of 8 features is expected; got 0"):
        made.score_record(values)


@each_kernel
@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 1, 2), ()])
def test_rows_of_another_shape_are_refused(kernel: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows of 2 features are expected; got an array of shape"):
        scorer(stump(), kernel=kernel).score(np.zeros(shape))


@each_c_kernel
@pytest.mark.parametrize(
    "X", [[[0.0, 1.0]], None, np.zeros((1, 2), complex), np.zeros((1, 2), object), np.zeros((1, 2), "M8[s]")]
)
def test_rows_that_are_no_real_array_are_refused(kernel: str, X: Any) -> None:
    with pytest.raises(TypeError, match="rows are"):
        scorer(stump(), kernel=kernel).score(X)


@pytest.mark.usefixtures("_first_bad_of")
@pytest.mark.parametrize("dtype", ["float64", "float32", ">f8"])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [(0, 0), (0, 2), (63, 1), (64, 0), (170, 1), (341, 0), (999, 2)])
def test_the_first_value_that_cannot_be_scored_is_found(dtype: str, bad: float, at: tuple[int, int]) -> None:
    X = np.full((1000, 3), np.finfo(np.float32).max, dtype)
    assert first_bad(X) is None
    X[at[0] :] = bad
    X[at[0], : at[1]] = 0
    assert first_bad(X) == at
    assert first_bad(np.asfortranarray(X)) == at
    assert first_bad(np.repeat(X, 2, axis=0)[::2]) == at


@pytest.mark.usefixtures("_first_bad_of")
def test_a_double_beyond_float32_is_found_though_it_is_finite() -> None:
    assert first_bad(np.array([[0.0, np.nextafter(float(np.finfo(np.float32).max), np.inf)]])) == (0, 1)
    assert first_bad(np.array([[0.0, -1e300]])) == (0, 1)


@pytest.mark.usefixtures("_first_bad_of")
@pytest.mark.parametrize("dtype", ["int64", "uint64", "int8", "bool", "float16"])
def test_no_fault_is_found_with_what_float32_always_holds(dtype: str) -> None:
    assert first_bad(np.array([[0, 1], [1, 0]]).astype(dtype)) is None
    assert first_bad(np.empty((0, 3), dtype)) is None


def test_a_kernel_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no kernel 'c-vax' on this machine; it has .*numpy"):
        scorer(stump(), kernel="c-vax")


@each_c_kernel
@settings(max_examples=300, deadline=None)
@given(data=st.data(), n=st.integers(0, 9), trees=st.integers(0, 4))
def test_the_c_code_refuses_what_the_forest_files_check_refuses(
    kernel: str, data: st.DataObject, n: int, trees: int
) -> None:
    small = st.integers(-2, 10)
    number = st.floats(-9, 9, width=32) | st.sampled_from([np.nan, np.inf])
    odd = data.draw(st.sampled_from([0, 0, 0, 1]))
    garbage = stump(
        threshold=data.draw(arrays(np.float32, n, elements=number)),
        feature=data.draw(arrays(np.int32, n, elements=st.integers(-2, 2))),
        child=data.draw(arrays(np.int32, n + odd, elements=small | st.sampled_from([2**31 - 1, -(2**31)]))),
        leaf_value=data.draw(arrays(np.float64, n, elements=number)),
        root=data.draw(arrays(np.int32, trees, elements=small)),
        normalizer=data.draw(st.sampled_from([0.0, 1.0, 1.0, -1.0, np.nan])),
    )
    assert_refused_alike(garbage, kernel)


@each_c_kernel
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_a_forest_with_one_wrong_number_is_refused_or_scored_as_the_reference_does(
    kernel: str, seed: int, data: st.DataObject
) -> None:
    forest = random_forest(seed, n_trees=12, n_features=2, leaves=12)
    name = data.draw(st.sampled_from(["threshold", "feature", "child", "leaf_value", "root"]))
    wrong = getattr(forest, name).copy()
    place = data.draw(st.integers(0, len(wrong) - 1))
    wrong[place] = data.draw(st.integers(-(2**31), 2**31 - 1) | st.integers(-3, len(forest.feature) + 1))
    assert_refused_alike(dataclasses.replace(forest, **{name: wrong}), kernel)


def assert_refused_alike(forest: Forest, kernel: str) -> None:
    try:
        check_structure(forest)
    except CorruptArtifact:
        with pytest.raises(ValueError, match="the forest is damaged"):
            scorer(forest, kernel=kernel)
        return
    X = np.array([[0.0, 9.0], [9.0, -9.0], [0.1, 0.2]] * 20)
    made = scorer(forest, kernel=kernel)
    with np.errstate(over="ignore"):  # path lengths far below 0
        np.testing.assert_array_equal(made.score(X), decision_function(forest, X))
        np.testing.assert_array_equal([made.score_record(row) for row in X[:3].tolist()], made.score(X[:3]))


@each_c_kernel
@pytest.mark.parametrize("name", ["threshold", "feature", "child", "leaf_value", "root"])
@pytest.mark.parametrize("value", [None, "text", np.zeros((2, 2)), np.zeros(3, complex), [object()]])
def test_arrays_of_another_kind_are_refused(kernel: str, name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        scorer(stump(**{name: value}), kernel=kernel)


def shared_levels(depth: int) -> Forest:
    """Return one tree in which both nodes of every level have the next level's pair for children: 2**depth paths."""
    n = 2 * depth + 1
    inner = np.arange(n) < n - 2
    return stump(
        threshold=np.where(inner, np.linspace(-1, 1, n), 0).astype(np.float32),
        feature=np.where(inner, 0, -1).astype(np.int32),
        child=np.where(inner, (np.arange(n) + 1) // 2 * 2 + 1, 0).astype(np.int32),
        leaf_value=np.where(inner, 0.0, np.arange(n)),
    )


@each_c_kernel
def test_a_forest_that_copies_of_shared_nodes_would_blow_up_goes_to_numpy(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    forest = shared_levels(60)
    check_structure(forest)
    made = scorer(forest, kernel=kernel)
    assert made.kernel == "numpy"
    assert "shared nodes" in caplog.text
    X = np.linspace(-2, 2, 50).repeat(2).reshape(-1, 2)
    np.testing.assert_array_equal(made.score(X), decision_function(forest, X))


@each_c_kernel
def test_more_features_than_the_layout_holds_go_to_numpy(kernel: str, caplog: pytest.LogCaptureFixture) -> None:
    made = scorer(random_forest(1, n_trees=3, n_features=1025, leaves=5), kernel=kernel)
    assert made.kernel == "numpy"
    assert "more features" in caplog.text


@each_c_kernel
def test_a_tree_that_the_layout_does_not_reach_across_goes_to_numpy(
    kernel: str, caplog: pytest.LogCaptureFixture
) -> None:
    forest = random_forest(1, n_trees=1, n_features=2, leaves=100_000, fewest=100_000)
    assert scorer(forest, kernel=kernel).kernel == "numpy"
    assert "larger trees" in caplog.text


@pytest.mark.usefixtures("_no_extension")
def test_without_the_extension_numpy_scores_and_one_warning_says_why(caplog: pytest.LogCaptureFixture) -> None:
    forest = random_forest(2, n_trees=5, n_features=2, leaves=9)
    X = np.linspace(-1, 1, 20).reshape(-1, 2)
    assert (kernels(), kernel_name(), scorer(forest).kernel) == (("numpy",), "numpy", "numpy")
    np.testing.assert_array_equal(scorer(forest).score(X), decision_function(forest, X))
    (warning,) = caplog.record_tuples
    assert warning[:2] == ("scoring.kernel", logging.WARNING)
    assert "the C extension is not there" in warning[2]
    assert "install a C compiler" in warning[2]
