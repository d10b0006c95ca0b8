"""One job from beginning to end, in a thread of its own: trains, waits out what is away, keeps account of faults.

It ends in one of four ways: the version is there; the batch has failed for good and is a dead letter; another attempt
is to follow (Faulted); or this process stops and another worker begins (HandedBack). Attempts and faults are counted in
PostgreSQL, so a batch gets as many as it may have, however many workers share them and however often those restart.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Protocol

from store.attempts import Attempts
from store.errors import StoreUnavailable
from trainer.errors import Faulted, HandedBack, UntrainableBatch
from trainer.retrying import OUTAGES, TEMPORARY, wait_seconds
from trainer.vitals import Vitals

_log = logging.getLogger(__name__)

STOPPED = "handed back by a worker that stopped"


class Trains(Protocol):
    """What makes a batch's version: :class:`trainer.training.Training`."""

    def train(self, batch_id: str) -> None:
        """Make the version, once however often it is called."""


class JobRunner:
    """Runs the jobs of one worker, one at a time.

    Args:
        training: makes versions.
        attempts: keeps account.
        vitals: shows what is being done.
        max_attempts: faults that a batch may have before it fails for good.

    """

    def __init__(self, training: Trains, attempts: Attempts, vitals: Vitals, *, max_attempts: int) -> None:
        self._training = training
        self._attempts = attempts
        self._vitals = vitals
        self._max_attempts = max_attempts
        self._stopping = threading.Event()
        # Beside the event, because a signal handler may set it: it takes no lock.
        self.may_begin = True

    def stop(self) -> None:
        """Begin nothing more, and wait for no outage."""
        self.may_begin = False
        self._stopping.set()

    def run(self, batch_id: str) -> None:
        """Do the job of a batch; returns when nothing is left to be done, for better or worse.

        Raises:
            Faulted: the attempt failed, and there will be another.
            HandedBack: this worker stops.
            AttemptRunning, StoreUnavailable: nothing could be done, or written down, for now.

        """
        if not self.may_begin:
            raise HandedBack(STOPPED)
        try:
            self._outlast(batch_id)
        except TEMPORARY:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is held against the batch, and logged whole
            _log.exception("training of batch %s failed", batch_id)
            self.blame(batch_id, f"{type(error).__name__}: {error}", fatal=isinstance(error, UntrainableBatch))

    def blame(self, batch_id: str, reason: str, *, fatal: bool = False) -> None:
        """Hold a fault against a batch.

        Raises:
            Faulted: it may have another attempt.

        """
        fault = self._attempts.fault(batch_id, reason, most=1 if fatal else self._max_attempts)
        if fault is None:
            return  # another attempt settled the batch in the meantime
        if not fault.given_up:
            self._vitals.count("fault")
            raise Faulted(fault.count)
        self._vitals.count("failed")
        _log.error("batch %s has failed for good; `telltale jobs` shows it: %s", batch_id, reason)

    def _outlast(self, batch_id: str) -> None:
        """Train, waiting out whatever is away; in the queue each wait would look like an attempt."""
        began = False
        waits = 0
        while True:
            try:
                began = began or self._attempts.begin(batch_id)
                if began:
                    self._train(batch_id)
            except OUTAGES as error:
                self._wait(batch_id, error, wait_seconds(waits))
                waits += 1
            else:
                return

    def _train(self, batch_id: str) -> None:
        with self._vitals.training():
            self._training.train(batch_id)

    def _wait(self, batch_id: str, outage: Exception, seconds: int) -> None:
        """Wait for an outage to pass; HandedBack if we are to stop first."""
        _log.warning("training of batch %s waits %d s: %s", batch_id, seconds, outage)
        self._vitals.count("outage")
        with self._vitals.waiting():
            with suppress(StoreUnavailable):  # which may well be what is away
                self._attempts.wait(batch_id, f"waits: {outage}")
            if not self._stopping.wait(seconds):
                return
        with suppress(StoreUnavailable):
            self._attempts.put_back(batch_id, STOPPED)
        self._vitals.count("handed_back")
        raise HandedBack(STOPPED)
