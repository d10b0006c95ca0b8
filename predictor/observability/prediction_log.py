"""Every scored record on its way into PostgreSQL, never in the way of an answer.

Records wait in a bounded queue for a thread that writes them every quarter of a second. When the queue is full the
newest are dropped and counted; while PostgreSQL is away the writer tries again and again, and the queue holds what it
can.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from predictor.observability.metrics import Metrics
from predictor.observability.prediction_queue import PredictionQueue
from store.errors import StoreUnavailable
from store.prediction_rows import PredictionRows, RowsRefused

_log = logging.getLogger(__name__)

# So few that putting them together keeps the interpreter from the event loop for a few milliseconds, in slices.
_BATCH_PLACES = 5000
_LONGEST_WAIT_SECONDS = 5.0
_HOUSEKEEPING_SECONDS = 3600.0
_HOUSEKEEPING_RETRY_SECONDS = 60.0


class Table(Protocol):
    """Where predictions go: :class:`store.prediction_log.PredictionTable`."""

    def append(self, groups: Sequence[PredictionRows], /) -> None:
        """Write all or none; StoreUnavailable to be called again with the same, RowsRefused never to be."""

    def prepare(self, now: datetime, /) -> None:
        """Make room for the next days; StoreUnavailable."""

    def retain(self, now: datetime, /) -> object:
        """Drop what is out of retention; StoreUnavailable."""


class PredictionLog:
    """The queue and the thread that empties it.

    ``one`` and ``many`` are :meth:`PredictionQueue.one`, for the event loop, and :meth:`PredictionQueue.many`.

    Args:
        table: where records go.
        capacity: how many records may wait, of up to 16 features each; a wider one takes as many places as it has
            sixteens. 100,000 take some 40 MB.
        interval: seconds between two writes.
        now: seconds since 1970.

    """

    def __init__(
        self,
        table: Table,
        *,
        capacity: int = 100_000,
        interval: float = 0.25,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._queue = PredictionQueue(capacity, now=now)
        self.one = self._queue.one
        self.many = self._queue.many
        self._interval = interval
        self._now = now
        self._pending: list[PredictionRows] = []
        self._refused = self._stopped = 0
        self.written = 0
        self._housekeeping_at = 0.0
        self._away = False
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._writer = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    @property
    def queued(self) -> int:
        """Places of the queue that are taken."""
        return self._queue.places

    @property
    def dropped(self) -> dict[str, int]:
        """How many records were dropped: the queue was full, PostgreSQL refused them, or the process ended."""
        return {"full": self._queue.dropped, "refused": self._refused, "stopped": self._stopped}

    def start(self) -> None:
        """Begin to write."""
        self._writer.start()

    def stop(self, *, seconds: float = 2.0) -> None:
        """Write what waits, for so long at most; what is then left is counted as dropped."""
        self._queue.close()
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        if self._writer.ident is not None:
            self._writer.join(seconds)
        left = self._queue.records + sum(map(len, self._pending))
        if left:
            self._stopped += left
            _log.warning("%d predictions were not written to the prediction log before the end", left)

    def expose(self, metrics: Metrics) -> None:
        """Show what was written and dropped, and how full the queue is."""
        metrics.count("prediction_log_written", "Predictions written to PostgreSQL.", lambda: self.written)
        what = "Predictions that were not written, by reason."
        metrics.count("prediction_log_dropped", what, lambda: self.dropped, label="reason")
        metrics.gauge("prediction_log_queue_length", "Predictions that wait to be written.", lambda: self.queued)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._keep_house()
            self._write()
        while self._write():
            pass

    def _write(self) -> bool:
        """Write full batches, and then what is left; False if there was nothing, or if the time is over."""
        wait = self._interval
        while not self._is_over():
            self._pending = self._pending or self._queue.take(_BATCH_PLACES)
            if not self._pending:
                return False
            if self._tried():
                wait = self._interval
                if self._queue.places < _BATCH_PLACES:
                    return True
            elif self._stopping.is_set():
                time.sleep(self._interval)  # the last tries, within the deadline
            else:
                self._stopping.wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
        return False

    def _is_over(self) -> bool:
        return self._stopping.is_set() and time.monotonic() >= self._deadline

    def _tried(self) -> bool:
        """Write the pending batch; False if it has to be tried again."""
        records = sum(map(len, self._pending))
        try:
            self._table.append(self._pending)
        except StoreUnavailable as error:
            self._note_away(error)
            return False
        except RowsRefused as error:
            self._refused += records
            _log.error("%d predictions are dropped: %s", records, error)
        except Exception:  # noqa: BLE001 - a defect in some rows must not end the writing of others; logged whole
            self._refused += records
            _log.exception("%d predictions cannot be written to the prediction log and are dropped", records)
        else:
            self.written += records
            self._note_back()
        self._queue.give_back(self._pending)
        self._pending = []
        return True

    def _note_away(self, error: StoreUnavailable) -> None:
        if not self._away:  # said once for each time it goes away, not at every try
            _log.warning("the prediction log waits, and drops records when its queue is full: %s", error)
            self._away = True

    def _note_back(self) -> None:
        if self._away:
            _log.info("the prediction log is written again; %d records were dropped so far", self._queue.dropped)
            self._away = False

    def _keep_house(self) -> None:
        """Make the partitions of the next days and drop those out of retention, every hour."""
        now = self._now()
        if now < self._housekeeping_at:
            return
        try:
            today = datetime.fromtimestamp(now, UTC)
            self._table.prepare(today)
            self._table.retain(today)
        except StoreUnavailable as error:
            _log.debug("no partitions of the prediction log were made or dropped: %s", error)
            self._housekeeping_at = now + _HOUSEKEEPING_RETRY_SECONDS
        else:
            self._housekeeping_at = now + _HOUSEKEEPING_SECONDS
