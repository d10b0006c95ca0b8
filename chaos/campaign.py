"""The rounds: in each one part is killed in the middle of a training and started again, and all must end well."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from chaos.clients import Fleet, Ledger, Scorer

MODELS = ("alpha", "beta")
# One outage and the waits between attempts are far shorter.
_DELIVERY_SECONDS, _TRAINING_SECONDS = 120.0, 240.0
_TRIES = 20


class Victim(Protocol):
    """A part that can be killed and started again."""

    def kill(self) -> None:
        """End it without a warning."""

    def start(self) -> None:
        """Start it again; returns when it is ready."""


@dataclass
class Outcome:
    """What the rounds brought."""

    kills: dict[str, int] = field(default_factory=dict)
    answered: int = 0
    failed_scores: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rounds:
    """What a campaign is made of.

    Args:
        url: the predictor.
        each: trainings during which each victim is killed.
        seed: of victims' order, moments, outages and data.
        report: told after each kill, with the victim and how long the outage was.

    """

    url: str
    each: int
    seed: int
    report: Callable[[str, float], None]


def run(rounds: Rounds, victims: dict[str, Victim], ledger: Ledger) -> Outcome:
    """Kill each victim during ``rounds.each`` trainings, in a mixed order."""
    moments = random.Random(rounds.seed)  # noqa: S311 - no secret, a schedule
    order = [name for name in victims for _ in range(rounds.each)]
    moments.shuffle(order)
    fleet, latecomer = Fleet(rounds.url, ledger, rounds.seed), Fleet(rounds.url, ledger, rounds.seed + 1)
    length = _usual_length(fleet)
    scorer = Scorer(rounds.url, MODELS[0])
    scorer.start()
    outcome = Outcome()
    try:
        for name in order:
            model = moments.choice(MODELS)
            job = _in_training(fleet, model, lambda: moments.uniform(0, length))
            outage = moments.uniform(0, 4)
            late = _Late(latecomer, moments.choice(MODELS))
            _kill(victims[name], outage, late)
            outcome.kills[name] = outcome.kills.get(name, 0) + 1
            rounds.report(name, outage)
            outcome.notes += _ended(fleet, name, [job, late.job()])
    finally:
        scorer.end()
    outcome.answered, outcome.failed_scores = scorer.answered, scorer.failed
    outcome.notes += ledger.refused
    return outcome


class _Late(threading.Thread):
    """Delivers one batch into the outage."""

    def __init__(self, fleet: Fleet, model: str) -> None:
        super().__init__(daemon=True, name="latecomer")
        self._fleet, self._model = fleet, model
        self._job = ""

    def run(self) -> None:
        self._job = self._fleet.deliver(self._model, within=_DELIVERY_SECONDS)

    def job(self) -> str:
        self.join()
        if not self._job:
            raise TimeoutError(f"the batch for {self._model} that came during the outage was never taken")
        return self._job


def _kill(victim: Victim, outage: float, late: _Late) -> None:
    victim.kill()
    late.start()
    time.sleep(outage)
    victim.start()


def _usual_length(fleet: Fleet) -> float:
    """Return how many seconds a training takes here: the median of three, once the models exist."""
    for model in MODELS:
        fleet.settled(fleet.deliver(model, within=_DELIVERY_SECONDS), within=_TRAINING_SECONDS)
    lengths = []
    for _ in range(3):
        job = fleet.deliver(MODELS[0], within=_DELIVERY_SECONDS)
        _wait_for(fleet, job, "training")
        began = time.monotonic()
        fleet.settled(job, within=_TRAINING_SECONDS)
        lengths.append(time.monotonic() - began)
    return sorted(lengths)[1]


def _in_training(fleet: Fleet, model: str, moment: Callable[[], float]) -> str:
    """Deliver batches until one is in training after a moment, and return its job."""
    for _ in range(_TRIES):
        job = fleet.deliver(model, within=_DELIVERY_SECONDS)
        _wait_for(fleet, job, "training")
        time.sleep(moment())
        said = fleet.state(job)
        if said is not None and said["state"] == "training":
            return job
    raise TimeoutError(f"no training of {_TRIES} was caught in the middle")


def _wait_for(fleet: Fleet, job: str, state: str) -> None:
    deadline = time.monotonic() + _TRAINING_SECONDS
    while time.monotonic() < deadline:
        said = fleet.state(job)
        if said is not None and said["state"] in (state, "done", "failed"):
            return
        time.sleep(0.01)
    raise TimeoutError(f"job {job} was not begun within {_TRAINING_SECONDS:.0f} s")


def _ended(fleet: Fleet, victim: str, jobs: Iterable[str]) -> list[str]:
    """Wait for jobs to end, and return what is wrong with how they did."""
    notes = []
    for job in jobs:
        said = fleet.settled(job, within=_TRAINING_SECONDS)
        if said["state"] != "done":
            notes.append(f"job {job} failed after {victim} was killed: {said.get('error')}")
    return notes
