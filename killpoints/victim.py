"""The controller as a process of its own, which ends by SIGKILL at a write.

Its looks, its clock and MLflow stay with the parent: what must survive it does.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any, NoReturn

from killpoints.clock import HandClock
from killpoints.errors import HarnessError
from killpoints.hand import HandController, Turn
from killpoints.models import Models
from killpoints.seam import Crash, Kill, Seam
from killpoints.witness import Invariants
from registry.errors import RegistryError
from registry.kubernetes.api import KubernetesApi, connect
from registry.mlflow_registry import Registered, RunFacts
from registry.settings import RegistrySettings
from registry.work_queue import Key


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL was survived")


class _ParentsModels:
    """MLflow, which the parent has."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, Lock()

    def aliases(self) -> Mapping[str, Mapping[str, str]]:
        answer: Mapping[str, Mapping[str, str]] = self._ask("aliases")
        return answer

    def by_id(self, model: str, version: str) -> Registered | None:
        raise NotImplementedError

    def by_alias(self, model: str, alias: str) -> Registered:
        answer: Registered = self._ask("by_alias", model, alias)
        return answer

    def newest(self, model: str, condition: str) -> Registered | None:
        raise NotImplementedError

    def run(self, run_id: str) -> RunFacts:
        answer: RunFacts = self._ask("run", run_id)
        return answer

    def set_tags(self, model: str, number: str, tags: Mapping[str, str]) -> None:
        self._ask("set_tags", model, number, dict(tags))

    def set_alias(self, model: str, alias: str, number: str) -> None:
        self._ask("set_alias", model, alias, number)

    def _ask(self, method: str, *arguments: Any) -> Any:
        with self._lock:
            self._pipe.send((method, arguments))
            answer = self._pipe.recv()
        if isinstance(answer, RegistryError):
            raise answer
        return answer


def _live(pipe: Connection, settings: RegistrySettings, key: Key, kill: Kill, now: datetime) -> None:
    """Look when the parent says so, until it hangs up, or until the write."""
    logging.getLogger("registry").addHandler(logging.NullHandler())
    models, clock = _ParentsModels(pipe), HandClock(now)
    witness = Invariants(KubernetesApi(connect(settings.request_timeout_seconds)), key.namespace, key.name)
    seam = Seam(key.name, witness, _die)
    seam.kill = kill
    controller = HandController(settings, key, models, models, seam, clock)
    while True:
        try:
            now = pipe.recv()
        except EOFError:
            return
        clock.advance((now - clock()).total_seconds())
        turn = controller.look()
        pipe.send(("turn", (turn, witness.broken)))


class VictimController:
    """The parent's end.

    Args:
        settings: of the controller.
        key: the ServedModel.
        models: MLflow.
        clock: the time of day.
        kill: where it ends.
        broken: what its witness saw is added to it.

    """

    def __init__(
        self, settings: RegistrySettings, key: Key, models: Models, clock: HandClock, kill: Kill, broken: list[str]
    ) -> None:
        self._models, self._clock, self._broken = models, clock, broken
        # A fork would inherit the threads' locks; this begins as the controller's own process does.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_live, args=(theirs, settings, key, kill, clock()), daemon=True)
        self._process.start()
        theirs.close()

    def look(self) -> Turn:
        """Let it look once; raises Crash where it was killed."""
        try:
            self._pipe.send(self._clock())
            while True:
                method, arguments = self._pipe.recv()
                if method == "turn":
                    turn, broken = arguments
                    self._broken += [fault for fault in broken if fault not in self._broken]
                    looked: Turn = turn
                    return looked
                self._pipe.send(self._answer(method, arguments))
        except (EOFError, ConnectionError) as error:
            self._process.join()
            if self._process.exitcode != -signal.SIGKILL:
                raise HarnessError(f"the controller's process ended by itself: {self._process.exitcode}") from error
            raise Crash from error

    def close(self) -> None:
        """End it, if it lives."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()
        self._process.join()

    def _answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return getattr(self._models, method)(*arguments)
        except RegistryError as error:
            return error
