"""A controller in this process, looked with by hand: it can be made to crash at any of its writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.composition import build
from registry.errors import Conflict, KubernetesUnavailable, MlflowUnavailable, NotRegistered
from registry.kubernetes.resources import EVENTS, SERVED_MODELS, Manifest
from registry.kubernetes.writes import Write, Writes
from registry.mlflow_registry import Registered, RunFacts
from registry.settings import RegistrySettings
from registry.work_queue import Key
from tests.registry.cluster.cluster import Cluster
from tests.registry.cluster.conftest import spec_of

_SECONDS = 60.0
# A look that is due later than this is due for the end of a time, and not for pods or a route.
_REST_SECONDS = 1.5


class Crash(BaseException):
    """The process ends here."""


class CrashingWrites:
    """Counts writes, and crashes once, before or after one of them.

    Args:
        at: the number of the write, from 0; None never crashes.
        after: whether the write still reaches the API server.

    """

    def __init__(self, at: int | None = None, *, after: bool = False) -> None:
        self._at, self._after = at, after
        self.done: list[str] = []

    def wrap(self, write: Writes) -> Writes:
        """Return ``write``, which crashes."""

        def crashing(wanted: Write) -> Manifest:
            if wanted.resource == EVENTS:
                return write(wanted)  # losing one loses nothing
            crashes = len(self.done) == self._at
            if crashes:
                self._at = None
            if crashes and not self._after:
                raise Crash(str(wanted))
            written = write(wanted)
            self.done.append(str(wanted))
            if crashes:
                raise Crash(str(wanted))
            return written

        return crashing


class OneModel:
    """MLflow with one model, whose alias the test moves."""

    def __init__(self) -> None:
        self.version: str | None = "20260101000000"
        self.digests: dict[str, str] = {}
        self.features: tuple[str, ...] = ("speed",)
        self.is_away = False
        self.tags: dict[str, dict[str, str]] = {}

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        self._answer()
        return {"cars": {} if self.version is None else {"champion": self.version}}

    def by_alias(self, model: str, alias: str) -> Registered:
        self._answer()
        version = self.version
        if version is None:
            raise NotRegistered(f"{model} has no alias {alias}")
        return Registered(version, version, self.digests.get(version, f"sha256:{version:0>64}"), version)

    def by_id(self, model: str, version: str) -> Registered | None:
        raise NotImplementedError

    def newest(self, model: str, condition: str) -> Registered | None:
        raise NotImplementedError

    def run(self, run_id: str) -> RunFacts:  # noqa: ARG002
        self._answer()
        return RunFacts({"holdout_flag_rate": 0.05}, self.features)

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        self._answer()
        self.tags.setdefault(number, {}).update(tags)

    def set_alias(self, model: str, alias: str, number: str) -> None:  # noqa: ARG002
        """Take an alias."""
        self._answer()

    def _answer(self) -> None:
        if self.is_away:
            raise MlflowUnavailable("MLflow: connection refused")


class Clock:
    """The time of day, which can be set wrong."""

    def __init__(self) -> None:
        self._wrong_by = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._wrong_by

    def jump(self, seconds: float) -> None:
        """Set it forwards or back."""
        self._wrong_by += timedelta(seconds=seconds)


@contextmanager
def controller(
    namespace: str, mlflow: OneModel, writes: CrashingWrites, clock: Clock | None = None, **settings: Any
) -> Iterator[Callable[[], str | None]]:
    """Give a function that looks at `cars` once, when the last look asked for it.

    It returns the phase once nothing but a change or a time's end could bring something more, and else None.
    """
    own = {"leader_election": False, "require_route_acceptance": False, "workers": 1, "mlflow_poll_seconds": 1}
    whole = RegistrySettings(namespaces=[namespace], **(own | settings))
    built = build(whole, source=mlflow, notes=mlflow, wrap=writes.wrap, clock=clock or Clock())
    key = Key(namespace, "cars")

    def look() -> str | None:
        built.resolver.poll()
        try:
            looked = built.reconciler.reconcile(key)
        except (Conflict, KubernetesUnavailable):
            return None
        built.write_back.flush()
        if looked.again_in is None or looked.again_in > _REST_SECONDS:
            time.sleep(0.05)
            return looked.phase
        time.sleep(min(looked.again_in, 0.2))
        return None

    try:
        yield look
    finally:
        built.hurry()
        built.close()


class Hand:
    """A controller that looks at `cars` when a test says so, and what is around it.

    Args:
        cluster: where `cars` is.
        look: looks once.
        mlflow: what it reads of MLflow.
        writes: what it writes.
        clock: its time of day.

    """

    def __init__(
        self, cluster: Cluster, look: Callable[[], str | None], mlflow: OneModel, writes: CrashingWrites, clock: Clock
    ) -> None:
        self.cluster, self.look, self.mlflow, self.writes, self.clock = cluster, look, mlflow, writes, clock

    def create(self, *, bake: int = 0, keep: int = 600, deadline: int = 60) -> None:
        """Create `cars`, whose first revision waits at no step."""
        rollout: Manifest = {"steps": [], "progressDeadlineSeconds": deadline}
        rollback = {"keepWarmSeconds": keep, "autoWindowSeconds": bake}
        self.cluster.create(SERVED_MODELS, "cars", spec_of("cars", rollout=rollout, gates=[], rollback=rollback))

    def serve(self, *steps: Manifest, **times: int) -> str:
        """Create `cars`, and return its first revision once it serves; the next waits at these steps."""
        self.create(**times)
        first = self.rest("Healthy")["stableRevision"]
        if steps:
            self.cluster.patch(SERVED_MODELS, "cars", {"spec": {"rollout": {"steps": list(steps)}}})
        return str(first)

    def move_alias(self, version: str | None = "20260102000000") -> None:
        """Let the alias name another version."""
        self.mlflow.version = version

    def rest(self, *phases: str, seconds: float = _SECONDS) -> Manifest:
        """Look until a phase is reached and a look writes nothing more; return the status."""
        deadline = time.monotonic() + seconds
        while True:
            before = len(self.writes.done)
            if self.look() in phases and len(self.writes.done) == before:
                return self.cluster.status()
            assert time.monotonic() < deadline, f"it is not at rest in {phases}: {self.cluster.status()}"

    def look_for(self, seconds: float) -> None:
        """Look again and again for a time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()

    def look_until(self, is_so: Callable[[], object], what: str, seconds: float = _SECONDS) -> None:
        """Look again and again until something is so."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"{what} did not come: {self.cluster.status()}"
            self.look()

    def conditions(self) -> dict[str, tuple[str, str, str]]:
        """Return status, reason and message of each condition."""
        found = self.cluster.status().get("conditions", ())
        return {one["type"]: (one["status"], one["reason"], one["message"]) for one in found}


@contextmanager
def hand(
    cluster: Cluster, mlflow: OneModel | None = None, clock: Clock | None = None, **settings: Any
) -> Iterator[Hand]:
    """Give a controller that is driven by hand."""
    mlflow, clock, writes = mlflow or OneModel(), clock or Clock(), CrashingWrites()
    with controller(cluster.namespace, mlflow, writes, clock, **settings) as look:
        yield Hand(cluster, look, mlflow, writes, clock)
