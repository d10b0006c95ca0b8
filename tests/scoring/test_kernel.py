"""Every kernel of this machine gives the reference's bits; what it refuses is in test_kernel_refusals.py."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.forest_file import Forest
from scoring.kernel import kernel_name, kernels, scorer
from scoring.reference import decision_function
from tests.contract.test_forest_file import forest as stump
from tests.scoring.forests import chain, random_forest, rows_near

IN_C = [kernel for kernel in kernels() if kernel != "numpy"]
each_kernel = pytest.mark.parametrize("kernel", kernels())
each_c_kernel = pytest.mark.parametrize("kernel", IN_C)


def assert_same_bits(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(ours.view(np.int64), theirs.view(np.int64))


def scored_by_record(forest: Forest, X: NDArray[np.float64], kernel: str) -> NDArray[np.float64]:
    score_record = scorer(forest, kernel=kernel).score_record
    return np.array([score_record(row) for row in X.tolist()])


def test_the_extension_is_there_wherever_it_can_be_built() -> None:
    compiler = shutil.which(sysconfig.get_config_var("CC").split()[0])
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if compiler is None or not headers.exists():
        pytest.skip("no C compiler or no Python headers; install both, then install telltale again")
    assert IN_C, "the build of scoring/_kernel.c failed; `uv pip install --no-deps --editable . -v` shows why"


def test_the_first_kernel_is_taken_unless_another_is_asked_for() -> None:
    assert scorer(stump()).kernel == kernel_name() == kernels()[0]
    assert [scorer(stump(), kernel=kernel).kernel for kernel in kernels()] == list(kernels())


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_trees=st.integers(1, 500),
    n_features=st.integers(1, 200),
    leaves=st.sampled_from([1, 2, 3, 20, 60]),
    distinct=st.sampled_from([1, 5, 5000]),
    n=st.integers(0, 300),
)
def test_every_kernel_gives_the_references_bits(
    seed: int, n_trees: int, n_features: int, leaves: int, distinct: int, n: int
) -> None:
    forest = random_forest(seed, n_trees=n_trees, n_features=n_features, leaves=leaves, distinct=distinct)
    X = rows_near(forest, n, seed)
    expected = decision_function(forest, X)
    for kernel in IN_C:
        assert_same_bits(scorer(forest, kernel=kernel).score(X), expected)
        assert_same_bits(scorer(forest, kernel=kernel).score(X.astype(np.float32)), expected)
        assert_same_bits(scored_by_record(forest, X[:5], kernel), expected[:5])


@each_c_kernel
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 47, 48, 49, 127, 128, 129, 176, 255, 256, 257, 303, 304, 1000])
def test_the_number_of_rows_does_not_show(kernel: str, n: int) -> None:
    forest = random_forest(7, n_trees=203, n_features=5, leaves=40)
    X = rows_near(forest, n, 8)
    assert_same_bits(scorer(forest, kernel=kernel).score(X), decision_function(forest, X))


@each_c_kernel
def test_one_record_scores_as_the_same_row_among_many(kernel: str) -> None:
    forest = random_forest(1, n_trees=200, n_features=8, leaves=60)
    X = rows_near(forest, 5000, 2)
    assert_same_bits(scored_by_record(forest, X, kernel), scorer(forest, kernel=kernel).score(X))


@each_c_kernel
@pytest.mark.parametrize(("leaves", "swept"), [(255, True), (256, True), (257, False), (2000, False)])
def test_trees_of_more_leaves_than_a_byte_counts_are_walked(kernel: str, leaves: int, swept: bool) -> None:
    forest = random_forest(4, n_trees=12, n_features=3, leaves=leaves, fewest=leaves, distinct=10_000)
    X = rows_near(forest, 400, 4)
    made = scorer(forest, kernel=kernel)
    assert made.kernel == (kernel if swept else "c")
    assert_same_bits(made.score(X), decision_function(forest, X))


@each_c_kernel
@pytest.mark.parametrize("depth", [1, 7, 8, 9, 16, 17, 200, 5000])
def test_a_tree_that_is_a_chain_is_walked_to_its_end(kernel: str, depth: int) -> None:
    forest = chain(depth)
    X = np.linspace(-2, depth + 2, 500)[:, None]
    assert_same_bits(scorer(forest, kernel=kernel).score(X), decision_function(forest, X))
    assert_same_bits(scored_by_record(forest, X, kernel), decision_function(forest, X))


@each_c_kernel
@pytest.mark.parametrize("n_features", [1000, 1024])
def test_a_thousand_features_are_taken(kernel: str, n_features: int) -> None:
    forest = random_forest(3, n_trees=300, n_features=n_features, leaves=30)
    X = rows_near(forest, 300, 3)
    assert scorer(forest, kernel=kernel).kernel == kernel
    assert_same_bits(scorer(forest, kernel=kernel).score(X), decision_function(forest, X))
    assert_same_bits(scored_by_record(forest, X[:50], kernel), decision_function(forest, X[:50]))


@each_c_kernel
def test_more_thresholds_than_a_rank_counts_are_walked(kernel: str) -> None:
    forest = random_forest(3, n_trees=2000, n_features=1, leaves=120, distinct=1_000_000)
    assert len(np.unique(forest.threshold)) > 65_536
    X = rows_near(forest, 100, 3)
    made = scorer(forest, kernel=kernel)
    assert made.kernel == "c"
    assert_same_bits(made.score(X), decision_function(forest, X))


@each_kernel
@pytest.mark.parametrize("normalizer", [0.0, 1e-300, 1e300])
def test_any_normalizer_gives_the_references_bits(kernel: str, normalizer: float) -> None:
    forest = random_forest(5, n_trees=20, n_features=3, leaves=10, normalizer=normalizer)
    X = rows_near(forest, 100, 6)
    with np.errstate(over="ignore", under="ignore"):
        expected = decision_function(forest, X)
        assert_same_bits(scorer(forest, kernel=kernel).score(X), expected)
        assert_same_bits(scored_by_record(forest, X, kernel), expected)


@each_kernel
@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", ">f8", ">f4", "longdouble", "int64", "uint8", "bool"]
)
def test_every_real_dtype_scores_as_the_reference_casts_it(kernel: str, dtype: str) -> None:
    forest = random_forest(9, n_trees=30, n_features=4, leaves=20)
    X = (rows_near(forest, 200, 1).clip(-9, 9) * 10).clip(0 if dtype == "uint8" else -90, 90).astype(dtype)
    assert_same_bits(scorer(forest, kernel=kernel).score(X), decision_function(forest, X))


@each_kernel
def test_integers_that_float64_would_round_are_cast_once(kernel: str) -> None:
    halfway = 2**54 + 2**30  # float32's neighbours are 2**31 apart here: half to even goes down, and one more goes up
    forest = stump(threshold=np.array([2.0**54, 0, 0], np.float32))
    X = np.array([[halfway, 0], [halfway + 1, 0], [2**54, 0]], np.int64)
    assert_same_bits(scorer(forest, kernel=kernel).score(X), decision_function(forest, X))


@each_kernel
def test_any_layout_in_memory_scores_alike(kernel: str) -> None:
    forest = random_forest(11, n_trees=30, n_features=4, leaves=20)
    X = rows_near(forest, 300, 1)
    shifted = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape)
    frozen = X.copy()
    frozen.flags.writeable = False
    layouts = {
        "columns first": np.asfortranarray(X),
        "every second row": np.repeat(X, 2, axis=0)[::2],
        "backwards": X[::-1].copy()[::-1],
        "some columns": np.hstack([X, X])[:, : X.shape[1]],
        "not aligned": shifted,
        "read-only": frozen,
    }
    assert not shifted.flags.aligned
    expected = decision_function(forest, X)
    for name, layout in layouts.items():
        np.testing.assert_array_equal(scorer(forest, kernel=kernel).score(layout), expected, err_msg=name)


@each_kernel
def test_values_that_are_no_numbers_go_where_the_reference_sends_them(kernel: str) -> None:
    forest = random_forest(12, n_trees=50, n_features=3, leaves=20)
    X = np.random.default_rng(0).choice(np.array([np.nan, -np.nan, np.inf, -np.inf, 0.1]), size=(200, 3))
    assert_same_bits(scorer(forest, kernel=kernel).score(X), decision_function(forest, X))


@each_kernel
def test_a_record_may_be_a_tuple_and_hold_integers(kernel: str) -> None:
    forest = random_forest(13, n_trees=50, n_features=3, leaves=20)
    score_record = scorer(forest, kernel=kernel).score_record
    same = score_record([1.0, 0.0, -3.0])
    assert score_record((1, 0, -3)) == score_record([True, False, np.float64(-3)]) == same
    assert type(same) is float


@each_kernel
def test_a_scorer_says_what_it_is(kernel: str) -> None:
    made = scorer(random_forest(13, n_trees=50, n_features=3, leaves=20), kernel=kernel)
    assert (made.kernel, made.n_features) == (kernel, 3)
    assert (made.nbytes > 0) == (kernel != "numpy")


@each_c_kernel
def test_a_scorer_outlives_its_forest(kernel: str) -> None:
    forest = random_forest(14, n_trees=50, n_features=3, leaves=20)
    X = rows_near(forest, 100, 1)
    expected = decision_function(forest, X)
    made = scorer(forest, kernel=kernel)
    for array in (forest.threshold, forest.feature, forest.child, forest.leaf_value, forest.root):
        array.fill(0)
    assert_same_bits(made.score(X), expected)


@each_kernel
def test_threads_share_a_scorer(kernel: str) -> None:
    forest = random_forest(15, n_trees=100, n_features=6, leaves=40)
    X = rows_near(forest, 1000, 1)
    expected = decision_function(forest, X)
    made = scorer(forest, kernel=kernel)
    parts = [slice(start, start + 1 + start % 300) for start in range(0, 900, 30)]
    with ThreadPoolExecutor(4) as pool:
        for part, scores in zip(parts, pool.map(lambda part: made.score(X[part]), parts), strict=True):
            assert_same_bits(scores, expected[part])


@each_c_kernel
def test_the_interpreters_lock_is_free_while_rows_are_scored(kernel: str) -> None:
    forest = random_forest(16, n_trees=200, n_features=8, leaves=60)
    made = scorer(forest, kernel=kernel)
    X = np.tile(rows_near(forest, 1000, 1), (100, 1))
    interval = sys.getswitchinterval()
    # Nobody is asked for the lock any more: this thread runs beside another only if that one lets go by itself.
    sys.setswitchinterval(1e5)
    try:
        assert not runs_beside(lambda: sum(range(1_000_000)))
        assert any(runs_beside(lambda: made.score(X)) for _ in range(10))
    finally:
        sys.setswitchinterval(interval)


def runs_beside(work: Callable[[], object]) -> bool:
    """Return whether this thread ran while another was busy with ``work``."""
    started = threading.Event()
    ended: list[bool] = []

    def run() -> None:
        started.set()
        work()
        ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    beside = not ended
    thread.join()
    return beside
