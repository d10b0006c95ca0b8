"""The controller's own parts, put together without threads: what it does in the background is done when asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import datetime
from typing import ParamSpec, TypeVar

from faults.weather import FaultyApi
from killpoints.models import Models
from registry.backoff import Backoff
from registry.effects import Effects
from registry.events import Recorder
from registry.gather import Gatherer
from registry.measuring import Measuring
from registry.prometheus import Ask
from registry.reconciler import Reconciler
from registry.relist import Relist
from registry.resolving import Resolver
from registry.work_queue import Key
from registry.write_back import ModelNotes, WriteBack

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _WhenAsked(Future[_T]):
    """Work that is done when its result is asked for, by whom asks."""

    def __init__(self, work: Callable[[], _T]) -> None:
        super().__init__()
        self._work: Callable[[], _T] | None = work

    def result(self, timeout: float | None = None) -> _T:
        work, self._work = self._work, None
        if work is not None:
            try:
                self.set_result(work())
            except Exception as error:  # noqa: BLE001 - as an executor does
                self.set_exception(error)
        return super().result(timeout)


class Unhurried(Executor):
    """An executor without threads."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Take work for later."""
        return _WhenAsked(lambda: fn(*args, **kwargs))


class Replica:
    """One controller of one ServedModel.

    Args:
        api: the API server, as this controller sees it.
        key: the ServedModel.
        models: MLflow, to read.
        notes: MLflow, to write.
        ask: Prometheus.
        clock: the time of day.
        monotonic: seconds, that never go back.
        look_soon: told that there is something new to look at.

    """

    def __init__(
        self,
        api: FaultyApi,
        key: Key,
        models: Models,
        notes: ModelNotes,
        ask: Ask,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        look_soon: Callable[[], None],
    ) -> None:
        executor = Unhurried()
        self.api, self.backoff = api, Backoff(monotonic, lambda: 0.5)
        self.resolver = Resolver(models, executor, monotonic, patience=1.0, notify=lambda _: look_soon())
        gatherer = Gatherer(
            api, executor, self.resolver, Measuring(self.resolver, ask, executor), needs_acceptance=True
        )
        self.write_back = WriteBack(notes)
        effects = Effects(api.write, self.write_back, clock)
        recorder = Recorder(api.write, "one", clock)
        self.reconciler = Reconciler(gatherer, effects, self.resolver, recorder, None, clock)
        self.relist = Relist(api, [key.namespace], lambda _: look_soon())
