"""The model versions in memory: each model's default, and others that someone asked for.

Everything here happens on the event loop but the loading itself, so nothing is locked, and a swap of a default is one
assignment: a request sees the old version or the new one. A default that cannot be loaded leaves the old one in place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from predictor.errors import NotLoadable, NotServed
from predictor.models.version_reader import LoadedVersion, VersionReader
from predictor.observability.metrics import Metrics
from predictor.threads import Threads
from predictor.waiting import Changes
from store.errors import StoreUnavailable
from store.served_version import ServedVersion

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_FIRST_READING_SECONDS = 3.0
Key = tuple[str, str]


@dataclass(frozen=True)
class LoadFailure:
    """A version that should be its model's default and could not be loaded."""

    version: str
    detail: str
    at: float

    def __str__(self) -> str:
        """Return it as a sentence."""
        return f"version {self.version} cannot be loaded: {self.detail}"


class LoadedVersions:
    """Versions in memory, kept within a bound; a model's default is never dropped.

    Args:
        reader: what versions are loaded by.
        threads: where loading runs.
        metrics: counts what is loaded and what fails.
        memory_bytes: the bound; beyond it the least recently used versions that are no defaults are dropped, all but
            the one just loaded.
        clock: seconds that never go back.

    """

    def __init__(
        self,
        reader: VersionReader,
        threads: Threads,
        metrics: Metrics,
        *,
        memory_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._threads = threads
        self._metrics = metrics
        self._memory_bytes = memory_bytes
        self._clock = clock
        self._resident: OrderedDict[Key, LoadedVersion] = OrderedDict()
        self._defaults: dict[str, LoadedVersion] = {}
        self._wanted: dict[str, ServedVersion] = {}
        self._loading: dict[Key, asyncio.Task[LoadedVersion]] = {}
        self._switching: dict[str, asyncio.Task[None]] = {}
        self.failures: dict[str, LoadFailure] = {}
        self.known = asyncio.Event()
        self.changes = Changes()

    @property
    def defaults(self) -> dict[str, LoadedVersion]:
        """Each model's default version that is loaded, by model."""
        return dict(self._defaults)

    @property
    def missing(self) -> list[str]:
        """The models that should be served and have no version in memory."""
        return sorted(set(self._wanted) - set(self._defaults))

    def default(self, model: str) -> LoadedVersion | None:
        """Return a model's default version if it is loaded."""
        return self._defaults.get(model)

    def versions_of(self, model: str) -> list[str]:
        """Return a model's versions in memory, oldest first."""
        return sorted(version for name, version in list(self._resident) if name == model)

    def resident(self, model: str, version: str) -> LoadedVersion | None:
        """Return a version if it is loaded."""
        found = self._resident.get((model, version))
        if found is not None:
            self._resident.move_to_end((model, version))
        return found

    def want(self, served: dict[str, ServedVersion]) -> None:
        """Follow what should be served by default; loads in the background what is not loaded."""
        self._wanted = served
        self.known.set()
        for model in set(self._defaults) - set(served):
            del self._defaults[model]
            self._metrics.default_version.remove_by_labels({"model": model})
        for target in served.values():
            if self._to_switch(target):
                self._start_switch(target)

    async def get(self, model: str, version: str | None) -> LoadedVersion:
        """Return a version that can score, loading it if needed: the one asked for, or the model's default.

        Raises:
            UnknownModel, UnknownVersion: there is none such.
            NotLoadable: it is damaged.
            StoreUnavailable: it, or what is served by default, cannot be read now.

        """
        if version is not None:
            return self.resident(model, version) or await self._load(model, version)
        return self.default(model) or await self._cold_default(model)

    async def stop(self) -> None:
        """End what loads in the background."""
        tasks: list[asyncio.Task[None] | asyncio.Task[LoadedVersion]]
        tasks = [*self._switching.values(), *self._loading.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _to_switch(self, target: ServedVersion) -> bool:
        if _is(self._defaults.get(target.model), target):
            self._clear_failure(target.model)
            return False
        if target.model in self._switching:
            return False  # the next reading of what is served looks again
        failure = self.failures.get(target.model)
        return failure is None or failure.version != target.version or self._clock() - failure.at >= _RETRY_SECONDS

    def _start_switch(self, target: ServedVersion) -> None:
        self._switching[target.model] = asyncio.ensure_future(self._switch(target))

    async def _switch(self, target: ServedVersion) -> None:
        try:
            loaded = await self._exactly(target)
        except (NotLoadable, NotServed, StoreUnavailable) as error:
            self._note_failure(target, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours, in a task that nobody awaits: it is told here
            _log.exception("version %s of model %s could not be loaded", target.version, target.model)
            self._note_failure(target, error)
        else:
            self._clear_failure(target.model)
            wanted = self._wanted.get(target.model)
            if wanted is not None and _is(loaded, wanted):
                self._make_default(loaded)
        finally:
            self._switching.pop(target.model, None)
            self.changes.fire()

    async def _exactly(self, target: ServedVersion) -> LoadedVersion:
        loaded = self.resident(target.model, target.version) or await self._load(target.model, target.version)
        if not _is(loaded, target):
            raise NotLoadable(f"the artefact's digest is {loaded.digest}, and {target.digest} is to be served")
        return loaded

    def _make_default(self, loaded: LoadedVersion) -> None:
        previous = self._defaults.get(loaded.model)
        if previous is not None:  # the one that a rollback would ask for is dropped last
            self._resident.move_to_end((previous.model, previous.version))
        self._defaults[loaded.model] = loaded
        self._metrics.default_version.remove_by_labels({"model": loaded.model})
        self._metrics.default_version.labels(loaded.model, loaded.version).set(1)
        self._shrink(keep=(loaded.model, loaded.version))
        _log.info("model %s is served by version %s (%s)", loaded.model, loaded.version, loaded.digest)

    def _note_failure(self, target: ServedVersion, error: Exception) -> None:
        self.failures[target.model] = LoadFailure(target.version, str(error), self._clock())
        self._metrics.load_failing.labels(target.model).set(1)
        self._metrics.load_failures.labels(target.model).inc()
        serving = self._defaults.get(target.model)
        _log.error(
            "version %s of model %s cannot be loaded: %s; %s",
            target.version,
            target.model,
            error,
            f"version {serving.version} goes on serving" if serving else "nothing serves the model",
        )

    def _clear_failure(self, model: str) -> None:
        if self.failures.pop(model, None) is not None:
            self._metrics.load_failing.labels(model).set(0)

    async def _cold_default(self, model: str) -> LoadedVersion:
        if not self.known.is_set():
            await self._first_reading()
        target = self._wanted.get(model)
        if target is None:
            raise await self._threads.store(self._reader.no_default, model, list(self._wanted))
        if self._to_switch(target):
            self._start_switch(target)
        if model in self._switching:
            await asyncio.shield(self._switching[model])
        loaded = self.default(model)
        if loaded is None:
            failure = self.failures.get(model)
            raise NotLoadable(failure.detail if failure else f"model {model!r} is being loaded")
        return loaded

    async def _first_reading(self) -> None:
        try:
            await asyncio.wait_for(self.known.wait(), _FIRST_READING_SECONDS)
        except TimeoutError:
            raise StoreUnavailable(
                "PostgreSQL has not yet told which versions are served by default: name a model_version, or wait"
            ) from None

    async def _load(self, model: str, version: str) -> LoadedVersion:
        key = (model, version)
        task = self._loading.get(key)
        if task is None:
            task = asyncio.ensure_future(self._load_once(key))
            self._loading[key] = task
        # One who gives up must not take the version from the others who wait for it.
        return await asyncio.shield(task)

    async def _load_once(self, key: Key) -> LoadedVersion:
        try:
            loaded = await self._threads.store(self._reader.read, *key)
        finally:
            del self._loading[key]
        self._resident[key] = loaded
        self._shrink(keep=key)
        return loaded

    def _shrink(self, *, keep: Key) -> None:
        """Drop the least recently used versions until the bound holds; never a default, nor ``keep``."""
        held = {(loaded.model, loaded.version) for loaded in self._defaults.values()} | {keep}
        total = sum(loaded.nbytes for loaded in self._resident.values())
        for key in [key for key in self._resident if key not in held]:
            if total <= self._memory_bytes:
                break
            total -= self._resident.pop(key).nbytes
            self._metrics.forget_version(*key)
        self._metrics.loaded_versions.set(len(self._resident))
        self._metrics.loaded_bytes.set(total)


def _is(loaded: LoadedVersion | None, target: ServedVersion) -> bool:
    return loaded is not None and loaded.version == target.version and target.digest in (None, loaded.digest)
