"""Taking batches in: durable first, then trained, and answered when this process serves what came of it.

Waiting is all that an answer waits for: a client that goes away, a wait that runs out or a server that stops leaves
the accepted batch as it is, and its training goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from contract import json_logs
from contract.telemetry import Limits
from predictor.errors import TrainingFailed, UnknownJob
from predictor.facade import answers
from predictor.ingestion.batch_watch import BatchWatch
from predictor.ingestion.reading_process import ReadingProcess
from predictor.models.loaded_versions import LoadedVersions
from predictor.observability.metrics import Metrics
from predictor.observability.tracing import current_span
from predictor.problems import Answer, answer_of
from predictor.threads import Threads
from predictor.waiting import first_of
from store.errors import SignatureMismatch, StoreUnavailable
from store.ingest_log import BatchRow, IdempotencyKey, IngestLog

_log = logging.getLogger(__name__)

# Below this the trainer has too little for a holdout, so nothing says how good the model is.
FEW_RECORDS = 20
_REREAD_SECONDS = 2.0


@dataclass(frozen=True)
class Waits:
    """How long an answer waits for its batch.

    Args:
        training_seconds: for the training, and all that follows, from the request's arrival.
        serving_seconds: within that, for a version that passed the gate to be served here.
        sync_records: batches with more records do not wait at all.

    """

    training_seconds: float = 25.0
    serving_seconds: float = 5.0
    sync_records: int = 10_000


class IngestService:
    """Answers ``POST /ingest`` and ``GET /ingest/{job}``; idempotency keys are :mod:`.idempotency`.s.

    Args:
        log: the log of batches.
        loaded: the versions in memory, to tell when a version is served here.
        watch: tells when something happened to a batch.
        threads: where the log is called.
        metrics: counts batches and outcomes.
        reading: turns bodies into batches.
        limits: what one request may hold.
        waits: how long an answer waits.
        stopping: set when the server stops; ends all waits.
        clock: the time now, which becomes the version's id.

    """

    def __init__(
        self,
        log: IngestLog,
        loaded: LoadedVersions,
        watch: BatchWatch,
        threads: Threads,
        metrics: Metrics,
        reading: ReadingProcess,
        *,
        limits: Limits,
        waits: Waits,
        stopping: asyncio.Event,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._log = log
        self._loaded = loaded
        self._watch = watch
        self._threads = threads
        self._metrics = metrics
        self._reading = reading
        self._limits = limits
        self._waits = waits
        self._stopping = stopping
        self._clock = clock

    async def answer(self, body: bytes, *, respond_async: bool, key: IdempotencyKey | None = None) -> Answer:
        """Accept the batch in ``body`` and return what became of it.

        Raises:
            Malformed, InvalidInput: the body breaks a rule; nothing was changed.
            KeyInUse: the idempotency key was used before; nothing was changed.
            StoreUnavailable: the batch could not be stored; the same request can be sent again.

        """
        began = _now()
        row = await self._threads.store(self._accept, body, key)
        self._metrics.batches.labels(row.model).inc()
        self._metrics.records.labels(row.model).inc(row.record_count)
        if respond_async or row.record_count > self._waits.sync_records:
            return self._later(row, respond_async=respond_async)
        # A store that was slow to take the batch has used up some of the client's patience.
        return await self.outcome(row, since=began)

    async def outcome(self, row: BatchRow, *, since: float | None = None) -> Answer:
        """Wait for a batch and return what became of it: trained and served or not (201), failed, or not yet (202).

        The wait counts from ``since``, a time of the event loop, or from now.
        """
        deadline = (_now() if since is None else since) + self._waits.training_seconds
        row = await self._settled(row, deadline)
        if not row.settled:
            return self._later(row)
        if row.state == "failed":
            self._metrics.ingest_outcomes.labels("failed").inc()
            failure = TrainingFailed(row.id, row.error or "the trainer gave no reason")
            return answer_of(failure, request_id=json_logs.request_id.get() or "")
        reason = await self._reason_not_served(row, deadline)
        self._metrics.ingest_outcomes.labels("not_served" if reason else "served").inc()
        return Answer(201, msgspec.json.encode(answers.trained(row, reason=reason)), {"Location": _location(row)})

    async def job(self, job: str) -> Answer:
        """Return what is known about an ingest job; UnknownJob if there is none."""
        row = await self._threads.store(self._log.find, job) if _is_uuid(job) else None
        if row is None:
            raise UnknownJob(
                f"there is no ingest job {job[:80]!r}; POST /ingest gives the id, which is forgotten with its batch"
            )
        serving = self._loaded.default(row.model)
        served = serving is not None and serving.version == row.version
        headers = {} if row.settled else {"Retry-After": "1"}
        return Answer(200, msgspec.json.encode(answers.job(row, served=served)), headers)

    def _accept(self, body: bytes, key: IdempotencyKey | None) -> BatchRow:
        """Check the body and store its batch; runs in a thread."""
        now = self._clock()
        known: dict[str, tuple[str, ...] | None] = {}

        def signature(model: str) -> tuple[str, ...] | None:
            return known.setdefault(model, self._log.signature(model))

        batch = self._reading.read(body, now=now, limits=self._limits, signature=signature)
        warnings = _warnings(batch.record_count, first=known[batch.model] is None)
        span = current_span.get()
        traceparent = None if span is None else span.traceparent
        try:
            return self._log.accept(batch, now=now, warnings=warnings, key=key, traceparent=traceparent)
        except SignatureMismatch as other:
            # Another first batch came in between. Its features hold, so this one is read again by them: it fits,
            # or the refusal names both.
            expected = other.expected
            batch = self._reading.read(body, now=now, limits=self._limits, signature=lambda _: expected)
            return self._log.accept(batch, now=now, warnings=warnings, key=key, traceparent=traceparent)

    def _later(self, row: BatchRow, *, respond_async: bool = False) -> Answer:
        self._metrics.ingest_outcomes.labels("later").inc()
        headers = {"Location": _location(row), "Retry-After": "1"}
        if respond_async:
            headers["Preference-Applied"] = "respond-async"
        return Answer(202, msgspec.json.encode(answers.accepted(row)), headers)

    async def _settled(self, row: BatchRow, deadline: float) -> BatchRow:
        """Return the batch once it is settled, or as it last was when the wait ends."""
        with self._watch.of(row.id) as news:
            while True:
                news.clear()
                row = await self._latest(row)
                left = deadline - _now()
                if row.settled or left <= 0 or self._stopping.is_set():
                    return row
                await first_of(news, self._stopping, seconds=min(left, _REREAD_SECONDS))

    async def _latest(self, row: BatchRow) -> BatchRow:
        try:
            return await self._threads.store(self._log.get, row.id)
        except StoreUnavailable as error:
            # The batch is durable: what the client waits for comes later, and the job's page will tell.
            _log.warning("batch %s could not be looked at: %s", row.id, error)
            return row

    async def _reason_not_served(self, row: BatchRow, deadline: float) -> str | None:
        """Return None once this process serves the batch's version by default, or why it does not."""
        if row.gate == "refused":
            return f"the offline gate refused the version: {row.gate_reason}"
        deadline = min(deadline, _now() + self._waits.serving_seconds)
        while True:
            changed = self._loaded.changes.next()
            serving = self._loaded.default(row.model)
            failure = self._loaded.failures.get(row.model)
            if serving is not None and serving.version == row.version:
                return None
            if serving is not None and serving.version > row.version:
                return f"version {serving.version}, of a later batch, is the model's default"
            if failure is not None and failure.version == row.version:
                return f"the version cannot be loaded: {failure.detail}"
            left = deadline - _now()
            if left <= 0 or self._stopping.is_set():
                other = f"version {serving.version} is" if serving else "no version is yet"
                return f"the version is trained and passed the gate; {other} the model's default"
            await first_of(changed, self._stopping, seconds=left)


def _warnings(count: int, *, first: bool) -> list[str]:
    if count >= FEW_RECORDS:
        return []
    if not first:
        have = "1 record" if count == 1 else f"{count} records"
        poor = (
            f"unless the model's earlier batches bring it to {FEW_RECORDS}, the model is poor and cannot be evaluated"
        )
        return [f"the batch has {have}: {poor}"]
    have = "one record makes" if count == 1 else f"{count} records make"
    return [f"{have} a poor model, which cannot be evaluated: send at least {FEW_RECORDS}, better several hundred"]


def _location(row: BatchRow) -> str:
    return f"/ingest/{row.id}"


def _is_uuid(text: str) -> bool:
    try:
        msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        return False
    return True


def _now() -> float:
    return asyncio.get_running_loop().time()
