"""From a RolloutAction's creation to the HTTPRoute that follows from it, while nothing else goes on.

Both ends are seen from outside: the request that creates the action is sent, and a watch brings the changed route. The
floor is the same with `benchmarks.registry.bare_controller` in the place of the controller, in the same rounds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import NotStarted
from benchmarks.registry.bare_controller import turned
from benchmarks.registry.samples import percentile, said
from benchmarks.registry.stage import Stage, make_namespace, served_model, take_away, wait_for
from benchmarks.registry.traffic_watch import TrafficWatch
from benchmarks.rounds import median_ratio
from registry.kubernetes.resources import HTTP_ROUTES, SERVED_MODELS
from registry.kubernetes.writes import writing

SIDE_BY_SIDE = 20
_PATIENCE_SECONDS = 300.0
_ROOT = Path(__file__).resolve().parents[2]


def run(where: Stage, rounds: int, say: Callable[[str], None]) -> dict[str, float]:
    """Return medians, p99 and the ratio of medians, in milliseconds, over ``rounds`` of 20 aborts and undos."""
    names = [f"held-{number}" for number in range(SIDE_BY_SIDE)]
    where.models.register(names, ("20260101000000", "20260102000000"))
    controller = where.controller("one")
    try:
        controller.start()
        bring_to_pause(where, names)
        with TrafficWatch(where.client, where.namespace).listening() as traffic, _floor(where, names) as bare:
            ours, theirs = _rounds(where, names, traffic, bare, rounds, say)
    finally:
        controller.kill()
    every, every_bare = _flat(ours), _flat(theirs)
    say(f"RolloutAction to HTTPRoute: {said(every)}; bare: {said(every_bare)}")
    return {
        "registry_action_p50_ms": percentile(every, 0.5) * 1e3,
        "registry_action_p99_ms": percentile(every, 0.99) * 1e3,
        "registry_action_samples": float(len(every)),
        "registry_bare_action_p50_ms": percentile(every_bare, 0.5) * 1e3,
        "registry_bare_action_p99_ms": percentile(every_bare, 0.99) * 1e3,
        "registry_action_ratio_to_bare": median_ratio(
            [statistics.median(samples) for samples in ours], [statistics.median(samples) for samples in theirs]
        ),
    }


def bring_to_pause(where: Stage, names: Sequence[str]) -> None:
    """Let the first version of each serve, and a tenth of the traffic go to the second."""
    for name in names:
        where.create(SERVED_MODELS, name, served_model(name, pause=True))
    wait_for_phase(where, names, "Paused")
    for name in names:
        where.act("Promote", name)
    wait_for_phase(where, names, "Healthy")
    where.models.promote(names, 2)
    wait_for_phase(where, names, "Paused")


def wait_for_phase(where: Stage, names: Sequence[str], phase: str, seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait until all of these ServedModels are in a phase."""

    def are_there() -> bool:
        phases = where.phases()
        return all(phases.get(name) == phase for name in names)

    wait_for(are_there, f"the phase {phase} of {len(names)} ServedModels", seconds, pause=0.2)


def timed_action(where: Stage, traffic: TrafficWatch, action: str, name: str, namespace: str | None = None) -> float:
    """Create a RolloutAction; return after how many seconds its route had changed."""
    began = time.perf_counter()
    where.act(action, name, namespace)
    return traffic.changed_at(name, began, 60.0) - began


def _rounds(
    where: Stage,
    names: Sequence[str],
    traffic: TrafficWatch,
    bare: TrafficWatch,
    rounds: int,
    say: Callable[[str], None],
) -> tuple[list[list[float]], list[list[float]]]:
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for number in range(rounds):
        if number:
            for name in names:
                where.act("Retry", name)
            wait_for_phase(where, names, "Paused")
        ours.append([])
        theirs.append([])
        for position, name in enumerate(names):
            action = "Undo" if (number + position) % 2 else "Abort"
            ours[-1].append(timed_action(where, traffic, action, name))
            wait_for_phase(where, [name], "Rejected")
            theirs[-1].append(timed_action(where, bare, "Abort", name, f"{where.namespace}-bare"))
        say(f"round {number + 1} of {rounds}: {said(ours[-1])}; bare: {said(theirs[-1])}")
    return ours, theirs


@contextmanager
def _floor(where: Stage, names: Sequence[str]) -> Iterator[TrafficWatch]:
    """Run the bare controller on routes like ours in a namespace of its own."""
    namespace = f"{where.namespace}-bare"
    make_namespace(where.client, namespace)
    try:
        for name in names:
            route = where.api.get(HTTP_ROUTES, where.namespace, name)
            if route is None:
                raise NotStarted(f"{name} has no route")
            route["metadata"]["namespace"] = namespace
            where.api.write(writing("apply", HTTP_ROUTES, turned(route)))
        with _bare_controller(where, namespace), TrafficWatch(where.client, namespace).listening() as traffic:
            yield traffic
    finally:
        take_away(where.client, f"/api/v1/namespaces/{namespace}")


@contextmanager
def _bare_controller(where: Stage, namespace: str) -> Iterator[None]:
    log = where.folder / "bare.log"
    with log.open("ab") as output:
        command = [sys.executable, "-m", "benchmarks.registry.bare_controller", namespace]
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=_ROOT)
    try:
        wait_for(lambda: "watching" in log.read_text(), "the bare controller", 60)
        yield
    finally:
        process.kill()
        process.wait()


def _flat(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [sample for samples in rounds for sample in samples]
