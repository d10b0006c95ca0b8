"""Scoring as all of the protocol's transports share it: find the version, score its rows, take note of it.

Versions are found on the event loop. Rows may be scored in any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Limits
from predictor.hotpath.exchange import Recorder, Scored
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import LoadedVersion
from predictor.threads import Threads
from predictor.v2.tensors import Rows, Signature, TensorHead, bad_value
from scoring.errors import OutOfRange
from scoring.kernel import first_bad

Protocol = Literal["v1", "v2-rest", "v2-grpc"]


class Inference:
    """The versions that can score, and what is needed to score by them.

    Args:
        loaded: the versions in memory.
        threads: where large requests are decoded and scored.
        recorder: takes note of what was scored.
        limits: what one request may hold.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        loaded: LoadedVersions,
        threads: Threads,
        recorder: Recorder,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.loaded = loaded
        self.threads = threads
        self.limits = limits
        self.clock = clock
        self._recorder = recorder

    def resident(self, model: str, version: str | None) -> LoadedVersion | None:
        """Return the version that answers, by default the model's own, if it is in memory."""
        return self.loaded.default(model) if version is None else self.loaded.resident(model, version)

    async def version(self, model: str, version: str | None) -> LoadedVersion:
        """Return the version that answers, loading it if need be.

        Raises:
            UnknownModel, UnknownVersion, NotLoadable, StoreUnavailable: it cannot be had.

        """
        return await self.loaded.get(model, version)

    def signature(self, loaded: LoadedVersion) -> Signature:
        """Return what a version takes."""
        return Signature(loaded.model, loaded.forest.feature_names, self.limits.records)

    def record(
        self, loaded: LoadedVersion, values: Sequence[float], *, started: float, request_id: str, protocol: Protocol
    ) -> float:
        """Return one row's decision function; on the event loop alone.

        Raises:
            BadInferRequest: a value is not finite or beyond float32's range.

        """
        try:
            decision = loaded.scorer.score_record(values)
        except OutOfRange as refusal:
            raise self._out_of_range(loaded, values) from refusal
        seconds = self.clock() - started
        self._recorder.one(loaded, decision, values, seconds=seconds, request_id=request_id, protocol=protocol)
        return decision

    def rows(
        self, loaded: LoadedVersion, X: Rows, *, started: float, request_id: str, protocol: Protocol
    ) -> NDArray[np.float64]:
        """Return the decision functions of checked rows, shape ``(n,)``; in any thread."""
        decision = loaded.scorer.score(X)
        self._recorder.many(Scored(loaded, decision, X, self.clock() - started, request_id, protocol))
        return decision

    def _out_of_range(self, loaded: LoadedVersion, values: Sequence[float]) -> Exception:
        row = np.array([values], np.float64)
        place = first_bad(row)
        column = place[1] if place else 0
        return bad_value(
            TensorHead("inputs[0]", "FP64", [1, len(values)]), 0, column, row[0, column], self.signature(loaded)
        )
