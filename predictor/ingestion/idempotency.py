"""``Idempotency-Key``: the same request sent twice trains once and gets the same answer, byte for byte.

The key is claimed in the transaction that accepts the batch (:meth:`store.ingest_log.IngestLog.accept`), so a request
that was refused leaves its key free. The answer is kept beside it as text, because JSON in PostgreSQL loses its order.
"""

from __future__ import annotations

import logging
from typing import Any

from contract.digests import digest_of
from predictor.errors import BadHeader, KeyBusy, KeyReused
from predictor.ingestion.ingest_service import IngestService
from predictor.problems import Answer
from predictor.threads import Threads
from store.errors import KeyInUse, StoreUnavailable
from store.ingest_log import IdempotencyKey, IngestLog, KeyRecord

_log = logging.getLogger(__name__)

LONGEST_KEY = 255


class IdempotentIngest:
    """An :class:`IngestService` that remembers by key what it answered."""

    def __init__(self, service: IngestService, log: IngestLog, threads: Threads) -> None:
        self._service = service
        self._log = log
        self._threads = threads
        # The keys whose requests this process is answering, with the digests of their bodies.
        self._running: dict[str, str] = {}

    async def answer(self, body: bytes, *, respond_async: bool, key: str | None) -> Answer:
        """Answer ``POST /ingest`` (see :meth:`IngestService.answer`), once for each key.

        Raises:
            BadHeader: the key has no, or too many, or other than printable ASCII characters.
            KeyReused: the key came before with another body.
            KeyBusy: the key came before with this body, and that request has not ended.

        """
        if key is None:
            return await self._service.answer(body, respond_async=respond_async)
        claim = IdempotencyKey(_checked(key), await self._threads.compute(digest_of, body))
        if key in self._running:
            raise _conflict(claim, self._running[key])
        self._running[key] = claim.body_digest
        try:
            return await self._once(body, claim, respond_async=respond_async)
        finally:
            del self._running[key]

    async def _once(self, body: bytes, claim: IdempotencyKey, *, respond_async: bool) -> Answer:
        record = await self._threads.store(self._log.find_key, claim.key)
        if record is not None:
            return await self._repeated(claim, record)
        try:
            answer = await self._service.answer(body, respond_async=respond_async, key=claim)
        except KeyInUse:  # another process took it since we looked
            record = await self._threads.store(self._log.find_key, claim.key)
            if record is None:
                raise KeyBusy("the first request with this Idempotency-Key has not ended") from None
            return await self._repeated(claim, record)
        return await self._kept(claim.key, answer)

    async def _repeated(self, claim: IdempotencyKey, record: KeyRecord) -> Answer:
        """Answer a key that was seen before."""
        if record.body_digest != claim.body_digest:
            raise _conflict(claim, record.body_digest)
        if record.status is not None and record.answer is not None:
            return _thawed(record.status, record.answer)
        row = await self._threads.store(self._log.get, record.batch_id)
        if not row.settled:
            raise _conflict(claim, record.body_digest)
        # The first request ended without an answer, by a crash say; what became of its batch is known.
        return await self._kept(claim.key, await self._service.outcome(row))

    async def _kept(self, key: str, answer: Answer) -> Answer:
        """Keep the answer for repeats and return the one that is kept: another process may have been first."""
        frozen = {"text": answer.body.decode(), "headers": answer.headers, "content_type": answer.content_type}
        try:
            await self._threads.store(self._log.keep_answer, key, answer.status, frozen)
            record = await self._threads.store(self._log.find_key, key)
        except StoreUnavailable as error:
            _log.warning(
                "the answer to an idempotency key was not kept; a repeat is answered from its batch: %s", error
            )
            return answer
        if record is None or record.status is None or record.answer is None:
            return answer
        return _thawed(record.status, record.answer)


def _checked(key: str) -> str:
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise BadHeader(
            f"Idempotency-Key must be 1 to {LONGEST_KEY} printable ASCII characters; got {len(key)}: {key[:80]!a}"
        )
    return key


def _conflict(claim: IdempotencyKey, first_digest: str) -> KeyReused | KeyBusy:
    if claim.body_digest != first_digest:
        return KeyReused(
            f"Idempotency-Key {claim.key!r} came before with another body: send that body again, or take a new key"
        )
    return KeyBusy(f"the first request with Idempotency-Key {claim.key!r} has not ended: send this again in a while")


def _thawed(status: int, kept: dict[str, Any]) -> Answer:
    return Answer(status, kept["text"].encode(), dict(kept["headers"]), kept["content_type"])
