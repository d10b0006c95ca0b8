"""``POST /score``: a lone record on the event loop within microseconds, everything else by the thorough way.

:meth:`ScoreRoute.quick` takes the good, small case only and gives up at the first thing that is not as usual;
:meth:`ScoreRoute.answer` then does it again and says what is wrong, or waits for what has to be loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar

import msgspec

from contract.names import DEFAULT_MODEL
from contract.telemetry import Limits, ScoreRecord, decode_record
from predictor.hotpath.exchange import HttpRequest, Recorder, Scope
from predictor.hotpath.score_batch import BatchScoring
from predictor.hotpath.score_forms import Score, form_of
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import LoadedVersion
from predictor.problems import Answer, answer_of

# A record of 1,024 features is about this large; what is larger is not worth the hurry.
_QUICK_BYTES = 32 * 1024
_JSON = frozenset(
    (
        b"application/json",
        b"application/json; charset=utf-8",
        b"application/json;charset=utf-8",
        b"application/json; charset=UTF-8",
        b"application/json;charset=UTF-8",
    )
)
_encode = msgspec.json.Encoder().encode


class ScoreRoute:
    """Answers ``POST /score``.

    Args:
        loaded: the versions in memory.
        batches: scores what is not one small record.
        recorder: takes note of what was scored.
        limits: what one request may hold.
        default_model: the model of records that name none.
        clock: the time now; time stamps too far ahead of it are refused.

    """

    template: ClassVar[str] = "/score"
    scope: ClassVar[Scope] = "telemetry:score"

    def __init__(
        self,
        loaded: LoadedVersions,
        batches: BatchScoring,
        recorder: Recorder,
        limits: Limits,
        *,
        default_model: str = DEFAULT_MODEL,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._loaded = loaded
        self._batches = batches
        self._recorder = recorder
        self._limits = limits
        self._default_model = default_model
        self._clock = clock
        self._latest = clock() + limits.ahead
        self._latest_until = 0.0

    def quick(self, request: HttpRequest) -> Answer | None:
        """Score a lone record in JSON; None if it is not that, or if anything about it is out of the ordinary."""
        started = time.perf_counter()
        body = request.body
        if len(body) > _QUICK_BYTES or body[:1] != b"{" or request.header(b"content-type") not in _JSON:
            return None
        record = decode_record(body, latest=self._latest_stamp(started), limits=self._limits)
        if record is None or request.header(b"content-encoding") is not None:
            return None
        loaded = self._version_of(record)
        if loaded is None:
            return None
        values = record.feature_vector if record.features is None else _in_order(record.features, loaded)
        try:
            decision = loaded.scorer.score_record(values or ())
        except ValueError:
            return None
        self._recorder.one(
            loaded,
            decision,
            values or (),
            seconds=time.perf_counter() - started,
            request_id=request.request_id,
            protocol="score",
            vehicle_id=record.vehicle_id,
        )
        return Answer(200, _encode(Score(record.vehicle_id, decision, decision < 0, loaded.version)))

    async def answer(self, request: HttpRequest) -> Answer:
        """Score what came, in whatever form.

        Raises:
            UnsupportedMedia, Malformed, InvalidInput: the request breaks a rule.
            UnknownModel, UnknownVersion, NotLoadable, StoreUnavailable: a version cannot be had.

        """
        form = form_of(request.header(b"content-type"), request.header(b"content-encoding"))
        return await self._batches.answer(form, request.body, request_id=request.request_id)

    def error_answer(self, error: Exception, request_id: str) -> Answer:
        """Return the problem document for ``error``."""
        return answer_of(error, request_id=request_id, path=self.template)

    def _version_of(self, record: ScoreRecord) -> LoadedVersion | None:
        model = record.model or self._default_model
        if record.model_version is None:
            return self._loaded.default(model)
        return self._loaded.resident(model, record.model_version)

    def _latest_stamp(self, now: float) -> datetime:
        """Return the latest time stamp that may come, renewed each second."""
        if now >= self._latest_until:
            self._latest = self._clock() + self._limits.ahead
            self._latest_until = now + 1.0
        return self._latest


def _in_order(features: dict[str, float], loaded: LoadedVersion) -> list[float] | None:
    names = loaded.forest.feature_names
    if len(features) != len(names):
        return None
    try:
        return [features[name] for name in names]
    except KeyError:
        return None
