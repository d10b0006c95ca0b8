"""The controller as it is put together, with its threads; nothing answers where it takes the API server to be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from killpoints.models import Models
from registry.composition import Controller, build
from registry.controller import join
from registry.leader import Leader
from registry.reconciler import Looked
from registry.settings import RegistrySettings
from registry.work_queue import Key
from tests.waiting import wait_for

CARS = Key("fleet", "cars")


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Controller]:
    config = {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "clusters": [{"name": "one", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "one", "user": {"token": "one"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    models = Models()
    built = build(RegistrySettings(leader_election=False), source=models, notes=models)
    yield built
    built.close()


@contextmanager
def started(controller: Controller) -> Iterator[Callable[[], None]]:
    """Start its threads, and give a function that asks them to stop."""
    stop = Event()
    threads = controller.start(stop)

    def ask_to_stop() -> None:
        stop.set()
        controller.hurry()

    try:
        yield ask_to_stop
    finally:
        ask_to_stop()
        join(threads, 10)
        assert not any(thread.is_alive() for thread in threads)


def test_each_loop_gives_signs_of_life_so_that_one_that_ends_is_missed(controller: Controller) -> None:
    loops = {"mlflow", "relist", "write-back", *(f"webhooks-{number}" for number in range(1, 5))}
    with started(controller):
        wait_for(lambda: controller.vitals.silences().keys() >= loops)
        assert controller.vitals.age() < 60, "a pause between rounds is no silence"


def test_a_replica_that_begins_to_lead_goes_by_nothing_that_it_knew_before(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = list[str]()
    for part in ("resolver", "reconciler"):
        monkeypatch.setattr(getattr(controller, part), "forget_all", lambda part=part: forgotten.append(part))
    controller.lead(True)
    controller.lead(False)
    controller.lead(True)
    assert forgotten == ["resolver", "reconciler"] * 2


class Standing:
    """Stands for the leader: waits as it is told before it lets go."""

    def __init__(self) -> None:
        self.let_go = Event()

    def is_leading(self) -> bool:
        return True

    def run(self, stop: Event, settle: Callable[[], None]) -> None:
        stop.wait(30)
        settle()
        self.let_go.set()


def test_the_lease_is_not_let_go_of_while_a_worker_writes(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, written = Event(), Event()

    def look(*_: Any, **__: Any) -> Looked:
        looking.set()
        written.wait(30)
        return Looked(None, None)

    monkeypatch.setattr(controller.reconciler, "reconcile", look)
    standing: Any = Standing()
    leader: Leader = standing
    with started(replace(controller, leader=leader)) as ask_to_stop:
        controller.workers.enqueue(CARS)
        assert looking.wait(10)
        ask_to_stop()
        assert not standing.let_go.wait(0.2)
        written.set()
        assert standing.let_go.wait(4), "it waits no longer than it must"


def test_the_lease_is_let_go_of_in_the_end_though_a_worker_hangs(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, release = Event(), Event()

    def hang(*_: Any, **__: Any) -> Looked:
        looking.set()
        release.wait(30)
        return Looked(None, None)

    monkeypatch.setattr(controller.reconciler, "reconcile", hang)
    monkeypatch.setattr("registry.composition._SETTLE_SECONDS", 0.1)
    standing: Any = Standing()
    with started(replace(controller, leader=standing)) as ask_to_stop:
        controller.workers.enqueue(CARS)
        assert looking.wait(10)
        ask_to_stop()
        assert standing.let_go.wait(10)
        release.set()
