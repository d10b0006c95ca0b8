"""A controller in this process, looked with by hand: it can be made to crash at any of its writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from registry.composition import build
from registry.errors import Conflict, KubernetesUnavailable
from registry.kubernetes.resources import EVENTS, Manifest
from registry.kubernetes.writes import Write, Writes
from registry.mlflow_registry import Registered, RunFacts
from registry.settings import RegistrySettings
from registry.work_queue import Key


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
        self.version = "20260101000000"
        self.tags: dict[str, dict[str, str]] = {}

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        return {"cars": {"champion": self.version}}

    def by_alias(self, model: str, alias: str) -> Registered:  # noqa: ARG002
        return Registered(self.version, self.version, f"sha256:{self.version:0>64}", self.version)

    def by_id(self, model: str, version: str) -> Registered | None:
        raise NotImplementedError

    def newest(self, model: str, condition: str) -> Registered | None:
        raise NotImplementedError

    def run(self, run_id: str) -> RunFacts:  # noqa: ARG002
        return RunFacts({"holdout_flag_rate": 0.05}, ("speed",))

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        self.tags.setdefault(number, {}).update(tags)

    def set_alias(self, model: str, alias: str, number: str) -> None:
        """Take an alias."""


@contextmanager
def controller(namespace: str, mlflow: OneModel, writes: CrashingWrites) -> Iterator[Callable[[], str | None]]:
    """Give a function that looks at `cars` once, when the last look asked for it.

    It returns the phase once nothing but a change could bring something more, and else None.
    """
    settings = RegistrySettings(
        namespaces=[namespace], leader_election=False, require_route_acceptance=False, workers=1, mlflow_poll_seconds=1
    )
    built = build(settings, source=mlflow, notes=mlflow, wrap=writes.wrap)
    key = Key(namespace, "cars")

    def look() -> str | None:
        built.resolver.poll()
        try:
            looked = built.reconciler.reconcile(key)
        except (Conflict, KubernetesUnavailable):
            return None
        built.write_back.flush()
        if looked.again_in is None:
            return looked.phase
        time.sleep(min(looked.again_in, 0.2))
        return None

    try:
        yield look
    finally:
        built.hurry()
        built.close()
