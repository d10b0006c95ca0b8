"""A predictor, and the trainer that is simulated beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from store.local_objects import LocalObjectStore
from tests.predictor.running import Running, running
from tests.predictor.simulated_trainer import SimulatedTrainer


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    """The folder of the object store."""
    return tmp_path / "objects"


@pytest.fixture
def trainer(database_url: str, objects: Path) -> Iterator[SimulatedTrainer]:
    """A trainer and controller that do what the test orders."""
    simulated = SimulatedTrainer(database_url, LocalObjectStore(objects))
    simulated.start()
    yield simulated
    simulated.stop()


@pytest.fixture
def server(database_url: str, objects: Path, trainer: SimulatedTrainer) -> Iterator[Running]:  # noqa: ARG001 - trains
    """A running predictor, trained for by ``trainer``."""
    with running(database_url, objects) as started:
        yield started


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait for a condition; fails after ten seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = monotonic() + 10
        while not condition():
            assert monotonic() < deadline, "the condition did not come true within 10 s"

    return wait
