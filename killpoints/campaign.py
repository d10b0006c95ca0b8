"""All points of all scenarios, several at once, each on a ServedModel of its own."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from killpoints.errors import HarnessError, NotPlayed
from killpoints.point import Baseline, Point, Run
from killpoints.query_server import QueryServer
from killpoints.scenario import Scenario
from killpoints.seam import Kill
from registry.errors import RegistryError
from tests.registry.cluster.cluster import Cluster

# A sample takes so many points of a scenario, since each has to be played undisturbed first.
_FROM_EACH = 3
# A note in MLflow that is soon followed by another is not always written: such a point is met at another try. And so
# is what could not be played.
TRIES = 3


@dataclass
class Outcome:
    """What the points came to.

    Args:
        points: how many were played.
        wrong: those after which something was wrong, with what that was.

    """

    points: int = 0
    wrong: dict[str, list[str]] = field(default_factory=dict)


class Field:
    """Namespaces that are played in, one for each point that is played at once.

    Args:
        slots: made anew for this field.
        queries: the stand-in for Prometheus.

    """

    def __init__(self, slots: Sequence[Cluster], queries: QueryServer) -> None:
        self._free: SimpleQueue[Cluster] = SimpleQueue()
        for slot in slots:
            self._free.put(slot)
        self.queries, self._number, self.parallel = queries, itertools.count(1), len(slots)

    @contextmanager
    def place(self) -> Iterator[tuple[Cluster, str]]:
        """Lend a namespace, and a name for a ServedModel in it."""
        slot = self._free.get()
        try:
            yield slot, f"k{next(self._number)}"
        finally:
            self._free.put(slot)

    @contextmanager
    def run(self, scenario: Scenario) -> Iterator[Run]:
        """Lend a place for one run."""
        with self.place() as (cluster, name):
            yield Run(cluster, name, scenario, self.queries)


@contextmanager
def playing_field(parallel: int) -> Iterator[Field]:
    """Make namespaces, and take them away in the end."""
    began = time.monotonic_ns() % 10**9
    slots = [Cluster(f"killpoints-{began}-{number}") for number in range(parallel)]
    slots[0].install()
    with QueryServer() as queries:
        for slot in slots:
            slot.make_namespace()
        try:
            yield Field(slots, queries)
        finally:
            for slot in slots:
                slot.remove()


def record(where: Field, scenarios: Iterable[Scenario], report: Callable[[str, int], None]) -> dict[str, Baseline]:
    """Play every scenario undisturbed; return what each wrote and left.

    What was not played, since the harness itself was refused something, is played again.

    Args:
        where: it is played.
        scenarios: each of them once.
        report: told what became of a play, and how many scenarios (none or one) that ends.

    """

    def one(scenario: Scenario, tries: int = TRIES) -> tuple[str, Baseline]:
        try:
            with where.run(scenario) as run:
                baseline = run.undisturbed()
        except Exception as error:
            report(f"{scenario.name}: {type(error).__name__}: {error}", 0)
            if isinstance(error, NotPlayed) and tries > 1:
                return one(scenario, tries - 1)
            raise
        report(f"{scenario.name}: {len(baseline.labels)} writes", 1)
        return scenario.name, baseline

    with ThreadPoolExecutor(where.parallel) as executor:
        return dict(executor.map(one, scenarios))


def some(scenarios: Sequence[Scenario], count: int | None, seed: int) -> list[Scenario]:
    """Return the scenarios of which ``count`` points are taken: not more than that many need, in a seed's order."""
    wanted = len(scenarios) if count is None else min(-(-count // _FROM_EACH), len(scenarios))
    return random.Random(f"scenarios {seed}").sample(list(scenarios), wanted)  # noqa: S311 - repeatable


def points(scenarios: Iterable[Scenario], baselines: Mapping[str, Baseline]) -> list[Point]:
    """Return every point: before and after each write of each scenario."""
    return [
        Point(scenario, Kill(label, after))
        for scenario in scenarios
        for label in baselines[scenario.name].labels
        for after in (False, True)
    ]


def sample(every: Sequence[Point], count: int | None, by_signal: int, seed: int) -> list[Point]:
    """Return ``count`` of the points in an order that follows from the seed, some of them to be killed by SIGKILL."""
    chooser = random.Random(seed)  # noqa: S311 - repeatable
    chosen = chooser.sample(every, len(every) if count is None else min(count, len(every)))
    return [replace(point, by_signal=index < by_signal) for index, point in enumerate(chosen)]


def play(
    where: Field,
    chosen: Sequence[Point],
    baselines: Mapping[str, Baseline],
    report: Callable[[Point, list[str]], None],
) -> Outcome:
    """Play points, each reported with what was wrong after it; return what they came to."""
    outcome = Outcome()

    def one(point: Point, tries: int = TRIES) -> tuple[Point, list[str]]:
        with where.run(point.scenario) as run:
            try:
                wrong = run.killed(point, baselines[point.scenario.name])
                again = run.was_missed
            except (HarnessError, RegistryError) as error:
                wrong, again = [f"{type(error).__name__}: {error}"], isinstance(error, NotPlayed)
        if again and tries > 1:
            return one(point, tries - 1)
        report(point, wrong)
        return point, wrong

    with ThreadPoolExecutor(where.parallel) as executor:
        for point, wrong in executor.map(one, chosen):
            outcome.points += 1
            if wrong:
                outcome.wrong[str(point)] = wrong
    return outcome
