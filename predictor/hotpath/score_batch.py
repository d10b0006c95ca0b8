"""Scoring many records, in any form, by as many versions as they name: one bad record refuses all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from contract.columns import to_matrix
from contract.errors import Fault, InvalidInput
from contract.names import DEFAULT_MODEL
from contract.telemetry import Limits, ScoreRecord
from predictor.errors import NotServed, UnknownVersion
from predictor.hotpath import score_forms
from predictor.hotpath.exchange import Recorder, Scored
from predictor.hotpath.score_forms import Score
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import LoadedVersion
from predictor.problems import Answer
from predictor.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")
# From here on a request goes to a thread: decoding and scoring it would hold up the others for milliseconds.
_LARGE_BODY = 16 * 1024
_FAULTS_SHOWN = 10


@dataclass(frozen=True)
class Group:
    """The records of a request that one version scores, by their places in it."""

    loaded: LoadedVersion
    places: list[int]


class BatchScoring:
    """Scores whole bodies.

    Args:
        loaded: the versions in memory.
        threads: where large requests are scored.
        recorder: takes note of what was scored.
        limits: what one request may hold.
        default_model: the model of records that name none.
        clock: the time now; time stamps too far ahead of it are refused.

    """

    def __init__(
        self,
        loaded: LoadedVersions,
        threads: Threads,
        recorder: Recorder,
        limits: Limits,
        *,
        default_model: str = DEFAULT_MODEL,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._loaded = loaded
        self._threads = threads
        self._recorder = recorder
        self._limits = limits
        self._default_model = default_model
        self._clock = clock

    async def answer(self, form: str, body: bytes, *, request_id: str) -> Answer:
        """Return the scores of the records in ``body``, in the form that it has.

        Raises:
            Malformed, InvalidInput: the body breaks a rule.
            UnknownModel, UnknownVersion, NotLoadable, StoreUnavailable: a version cannot be had.

        """
        started = time.perf_counter()
        if form == score_forms.ARROW:
            return await self._arrow(body, request_id, started)
        is_large = len(body) >= _LARGE_BODY
        records, is_array = await self._run(is_large, self._decode, form, body)
        groups = await self._groups(records, is_array=is_array)
        scores, scored = await self._run(is_large, self._scored, records, groups, is_array)
        answer = await self._run(is_large, score_forms.encode, form, scores, is_array=is_array)
        self._note(scored, request_id, time.perf_counter() - started)
        return Answer(200, answer, content_type=form)

    async def _arrow(self, body: bytes, request_id: str, started: float) -> Answer:
        """Answer an Arrow stream, column by column."""
        # Imported when the first one comes: Arrow costs 30 MB that most predictors never need.
        from predictor.hotpath import score_arrow  # noqa: PLC0415

        stream = await self._threads.compute(score_arrow.decode, body, now=self._clock(), limits=self._limits)
        model = stream.model or self._default_model
        try:
            loaded = await self._loaded.get(model, stream.model_version)
        except NotServed as lack:
            raise type(lack)(str(lack), [_lack_fault(lack, stream.model, stream.model_version, "")]) from lack
        X = await self._threads.compute(score_arrow.matrix, stream, loaded.forest.feature_names, model=loaded.model)
        decision = await self._threads.compute(loaded.scorer.score, X)
        answer = await self._threads.compute(score_arrow.encode, stream, decision, loaded.version)
        self._note([(loaded, decision, X, stream.vehicle_ids)], request_id, time.perf_counter() - started)
        return Answer(200, answer, content_type=score_forms.ARROW)

    async def _run(self, is_large: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function``: here for a small request, in a thread for a large one."""
        if is_large:
            return await self._threads.compute(function, *args, **kwargs)
        return function(*args, **kwargs)

    def _decode(self, form: str, body: bytes) -> tuple[list[ScoreRecord], bool]:
        return score_forms.decode(form, body, now=self._clock(), limits=self._limits)

    async def _groups(self, records: Sequence[ScoreRecord], *, is_array: bool) -> list[Group]:
        """Find the version for every record; raises for all places that ask for what there is not."""
        places: dict[tuple[str, str | None], list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault((record.model or self._default_model, record.model_version), []).append(place)
        groups: list[Group] = []
        lacks: list[tuple[NotServed, list[int]]] = []
        for (model, version), group in places.items():
            try:
                groups.append(Group(await self._loaded.get(model, version), group))
            except NotServed as lack:
                lacks.append((lack, group))
        if lacks:
            raise _not_served(lacks, records, is_array=is_array)
        return groups

    def _scored(
        self, records: Sequence[ScoreRecord], groups: Sequence[Group], is_array: bool
    ) -> tuple[list[Score | None], list[_Rows]]:
        matrices = _matrices(records, groups, is_array=is_array)
        scores: list[Score | None] = [None] * len(records)
        scored: list[_Rows] = []
        for group, X in zip(groups, matrices, strict=True):
            decision = group.loaded.scorer.score(X)
            scored.append((group.loaded, decision, X, [records[place].vehicle_id for place in group.places]))
            for place, value in zip(group.places, decision.tolist(), strict=True):
                scores[place] = Score(records[place].vehicle_id, value, value < 0, group.loaded.version)
        return scores, scored

    def _note(self, scored: Sequence[_Rows], request_id: str, seconds: float) -> None:
        for loaded, decision, X, vehicle_ids in scored:
            self._recorder.many(Scored(loaded, decision, X, seconds, request_id, "score", vehicle_ids))


_Rows = tuple[LoadedVersion, NDArray[np.float64], NDArray[np.float64], Sequence[str]]


def _matrices(records: Sequence[ScoreRecord], groups: Sequence[Group], *, is_array: bool) -> list[NDArray[np.float64]]:
    """Return each group's rows; raises for the faults of all groups together."""
    matrices: list[NDArray[np.float64]] = []
    faults: list[Fault] = []
    more = 0
    for group in groups:
        pointers = [f"/{place}" if is_array else "" for place in group.places]
        chosen = [records[place] for place in group.places]
        try:
            matrices.append(to_matrix(chosen, group.loaded.forest.feature_names, pointers, model=group.loaded.model))
        except InvalidInput as refusal:
            faults += refusal.faults
            more += refusal.more
    if faults:
        raise InvalidInput(faults[:_FAULTS_SHOWN], more=more + len(faults[_FAULTS_SHOWN:]))
    return matrices


def _not_served(
    lacks: list[tuple[NotServed, list[int]]], records: Sequence[ScoreRecord], *, is_array: bool
) -> NotServed:
    """Return one error that names every place which asks for a model or version that there is not."""
    faults = [
        _lack_fault(lack, records[place].model, records[place].model_version, f"/{place}" if is_array else "")
        for lack, places in lacks
        for place in places
    ]
    first = lacks[0][0]
    return type(first)(str(first), faults[:_FAULTS_SHOWN], more=len(faults[_FAULTS_SHOWN:]))


def _lack_fault(lack: NotServed, model: str | None, version: str | None, pointer: str) -> Fault:
    if isinstance(lack, UnknownVersion):
        return Fault(f"{pointer}/model_version", str(lack), (version or "")[:80])
    return Fault(f"{pointer}/model", str(lack), model)
