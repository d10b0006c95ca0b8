"""Scoring: the bytes of a request in, the bytes of its answer out, whatever carries them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import Fault, InvalidInput
from contract.telemetry import Limits, ScoreRecord, decode_score, to_matrix
from predictor.errors import NotServed, UnknownVersion
from predictor.facade.answers import Score
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import LoadedVersion
from predictor.observability.metrics import Metrics
from predictor.problems import Answer
from predictor.threads import Threads
from scoring.reference import decision_function

# From here on a request goes to a thread: decoding and scoring it would hold up the others for milliseconds.
_LARGE_BODY = 16 * 1024
_FAULTS_SHOWN = 10
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True)
class Group:
    """The records of a request that one version scores, by their places in it."""

    loaded: LoadedVersion
    places: list[int]


class ScoringService:
    """Answers ``POST /score``.

    Args:
        loaded: the versions in memory.
        threads: where large requests are scored.
        metrics: counts requests, records and flags by version.
        limits: what one request may hold.
        clock: the time now; time stamps too far ahead of it are refused.

    """

    def __init__(
        self,
        loaded: LoadedVersions,
        threads: Threads,
        metrics: Metrics,
        limits: Limits,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._loaded = loaded
        self._threads = threads
        self._metrics = metrics
        self._limits = limits
        self._clock = clock

    async def answer(self, body: bytes) -> Answer:
        """Return the scores of the record or the array of records in ``body``.

        Raises:
            Malformed, InvalidInput: the body breaks a rule.
            UnknownModel, UnknownVersion, NotLoadable, StoreUnavailable: a version cannot be had.

        """
        started = time.perf_counter()
        if len(body) < _LARGE_BODY:
            records, is_array = self._decode(body)
            groups = await self._groups(records, is_array=is_array)
            answer = self._scored(records, groups, is_array)
        else:
            records, is_array = await self._threads.compute(self._decode, body)
            groups = await self._groups(records, is_array=is_array)
            answer = await self._threads.compute(self._scored, records, groups, is_array)
        for group in groups:
            labels = (group.loaded.model, group.loaded.version)
            self._metrics.score_requests.labels(*labels).inc()
            self._metrics.score_latency.labels(*labels).observe(time.perf_counter() - started)
        return Answer(200, answer)

    def _decode(self, body: bytes) -> tuple[list[ScoreRecord], bool]:
        return decode_score(body, now=self._clock(), limits=self._limits)

    async def _groups(self, records: Sequence[ScoreRecord], *, is_array: bool) -> list[Group]:
        """Find the version for every record; raises for all places that ask for what there is not."""
        places: dict[tuple[str, str | None], list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault((record.model, record.model_version), []).append(place)
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

    def _scored(self, records: Sequence[ScoreRecord], groups: Sequence[Group], is_array: bool) -> bytes:
        matrices = _matrices(records, groups, is_array=is_array)
        scores: list[Score | None] = [None] * len(records)
        for group, X in zip(groups, matrices, strict=True):
            decision = decision_function(group.loaded.forest, X)
            self._count(group, decision)
            for place, value in zip(group.places, decision.tolist(), strict=True):
                scores[place] = Score(records[place].vehicle_id, value, value < 0, group.loaded.version)
        return _encoder.encode(scores if is_array else scores[0])

    def _count(self, group: Group, decision: NDArray[np.float64]) -> None:
        labels = (group.loaded.model, group.loaded.version)
        self._metrics.scored.labels(*labels).inc(len(decision))
        self._metrics.flagged.labels(*labels).inc(int(np.count_nonzero(decision < 0)))
        self._metrics.scores.observe(*labels, decision)


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
        _lack_fault(lack, records[place], f"/{place}" if is_array else "") for lack, places in lacks for place in places
    ]
    first = lacks[0][0]
    return type(first)(str(first), faults[:_FAULTS_SHOWN], more=len(faults[_FAULTS_SHOWN:]))


def _lack_fault(lack: NotServed, record: ScoreRecord, pointer: str) -> Fault:
    if isinstance(lack, UnknownVersion):
        return Fault(f"{pointer}/model_version", str(lack), (record.model_version or "")[:80])
    return Fault(f"{pointer}/model", str(lack), record.model)
