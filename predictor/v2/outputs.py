"""The outputs that a model has and which of them a request asks for, in which form. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contract.errors import shown
from predictor.v2.errors import BadInferRequest

OutputName = Literal["anomaly_score", "is_anomaly"]
DATATYPES: dict[OutputName, str] = {"anomaly_score": "FP64", "is_anomaly": "BOOL"}


@dataclass(frozen=True, slots=True)
class Output:
    """An output that is asked for; ``binary`` tells whether as bytes or as a list."""

    name: OutputName
    binary: bool

    @property
    def datatype(self) -> str:
        """The protocol's name of its datatype."""
        return DATATYPES[self.name]

    def values(self, decision: NDArray[np.float64]) -> NDArray[Any]:
        """Return the output of rows that have these decision functions, shape ``(n,)``."""
        return decision if self.name == "anomaly_score" else decision < 0

    def content(self, decision: NDArray[np.float64]) -> bytes:
        """Return the same as little-endian bytes."""
        values = self.values(decision)
        return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


Outputs = tuple[Output, ...]
AS_LISTS: Outputs = tuple(Output(name, binary=False) for name in DATATYPES)
AS_BYTES: Outputs = tuple(Output(name, binary=True) for name in DATATYPES)


def choose(asked: Sequence[tuple[str, bool]]) -> Outputs:
    """Return the outputs that are asked for by name, in that order; all of them as lists if none is.

    Raises:
        BadInferRequest: there is none of that name, or it is asked for twice.

    """
    outputs: dict[str, Output] = {}
    for place, (name, binary) in enumerate(asked):
        if name not in DATATYPES:
            raise BadInferRequest(f"outputs[{place}] asks for {shown(name)!r}; a model has {' and '.join(DATATYPES)}")
        if name in outputs:
            raise BadInferRequest(f"outputs[{place}] asks for {name} a second time")
        outputs[name] = Output(name, binary)
    return tuple(outputs.values()) or AS_LISTS
