"""The controller's threads: workers that look at ServedModels, and what keeps them in work.

Only the leading replica has work: the others watch too, so that they can begin at once, and drop what they hear.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread, current_thread

from registry.backoff import Backoff
from registry.errors import Conflict, KubernetesUnavailable, NotLeading, RegistryError
from registry.metrics import RegistryMetrics
from registry.reconciler import Reconciler
from registry.tracing import Look, Tracing
from registry.vitals import Vitals
from registry.work_queue import Key, WorkQueue

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 5.0
# An abort must not wait until one of the others is done, which may be waiting for MLflow or Prometheus.
_FOR_URGENT_ALONE = 2


class Workers:
    """Takes keys from the queue and looks at them.

    Args:
        queue: of ServedModels.
        reconciler: looks at one.
        metrics: told of each look.
        vitals: told that each worker goes round.
        is_leading: whether this replica writes.
        tracing: takes looks down.

    """

    def __init__(
        self,
        queue: WorkQueue,
        reconciler: Reconciler,
        metrics: RegistryMetrics,
        vitals: Vitals,
        is_leading: Callable[[], bool],
        tracing: Tracing,
    ) -> None:
        self._queue, self._reconciler, self._metrics = queue, reconciler, metrics
        self._vitals, self._is_leading, self._tracing = vitals, is_leading, tracing
        self._backoff = Backoff(time.monotonic)

    def enqueue(self, key: Key, urgent: bool = False) -> None:
        """Have a ServedModel looked at, if this replica leads."""
        if self._is_leading():
            self._queue.add(key, urgent=urgent)

    def start(self, count: int) -> list[Thread]:
        """Start the workers, and a few more for what is urgent alone."""
        threads = [
            Thread(target=self._run, args=(number >= count,), name=f"worker-{number}", daemon=True)
            for number in range(count + _FOR_URGENT_ALONE)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _run(self, urgent_only: bool) -> None:
        name = current_thread().name
        while True:
            self._vitals.beat(name, pause=_IDLE_SECONDS)
            key = self._queue.get(timeout=_IDLE_SECONDS, urgent_only=urgent_only)
            if key is not None:
                self._vitals.beat(name, f"looking at {key}")
                self.look(key)
            elif self._queue.is_closed():
                self._vitals.leave(name)
                return

    def look(self, key: Key) -> None:
        """Look at a key once, and have it looked at again when that is due."""
        began = time.monotonic()
        try:
            if self._is_leading():
                with self._tracing.look(key) as look:
                    result, again = self._try(key, look)
                    look.ended(result, again)
                seconds = time.monotonic() - began
                self._metrics.reconciled(result, seconds)
                _log.debug(
                    "%s: %s after %.0f ms",
                    key,
                    result,
                    seconds * 1e3,
                    extra={} if again is None else {"again_in": again},
                )
                if again is not None:
                    self._queue.add_after(key, again)
        finally:
            self._queue.done(key)

    def _try(self, key: Key, look: Look) -> tuple[str, float | None]:
        try:
            looked = self._reconciler.reconcile(key)
        except Conflict:
            return "conflict", 0.02 + random.random() * 0.1  # noqa: S311 - jitter
        except NotLeading as error:
            look.error = str(error)
            _log.info("%s", error)
            return "not_leading", None
        except KubernetesUnavailable as error:
            look.error = str(error)
            _log.warning("%s: %s", key, error)
            return "unavailable", max(self._backoff.failed(key), error.retry_after or 0.0)
        except RegistryError as error:
            look.error = str(error)
            _log.error("%s: %s", key, error)
            return "refused", self._backoff.failed(key)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one ServedModel must not stop the others
            look.error = f"{type(error).__name__}: {error}"
            _log.exception("%s could not be looked at", key)
            return "failed", self._backoff.failed(key)
        self._backoff.worked(key)
        return "done", looked.again_in


def join(threads: Iterable[Thread], seconds: float) -> None:
    """Wait until all these threads have ended, and for so many seconds at most."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))


def repeat(what: Callable[[], object], seconds: float, stop: Event, beat: Callable[[], None] = lambda: None) -> None:
    """Do something every ``seconds`` until ``stop``; a fault of it is logged, and it goes on.

    ``beat`` is told that it goes round.
    """
    beat()
    while not stop.wait(seconds):
        beat()
        try:
            what()
        except Exception:  # noqa: BLE001 - the thread is all that does this
            _log.exception("a repeated job failed")
