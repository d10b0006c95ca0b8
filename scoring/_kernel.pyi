"""What scoring/_kernel.c offers; :mod:`scoring.kernel` says what it means."""

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

@final
class Scorer:
    """A packed forest."""

    def __new__(
        cls,
        threshold: NDArray[np.float32],
        feature: NDArray[np.int32],
        child: NDArray[np.int32],
        leaf_value: NDArray[np.float64],
        root: NDArray[np.int32],
        n_features: int,
        normalizer: float,
        offset: float,
        *,
        kernel: str | None = None,
    ) -> Scorer: ...
    @property
    def kernel(self) -> str: ...
    @property
    def n_features(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def score_record(self, values: Sequence[float], /) -> float: ...
    def score(self, X: NDArray[Any], /) -> NDArray[np.float64]: ...

def kernels() -> tuple[str, ...]: ...
def first_bad(X: NDArray[Any], /) -> int: ...
