from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from killpoints.models import Models
from registry.errors import NotOneNumber, PrometheusUnavailable
from registry.measuring import Measuring
from registry.resolving import Resolver
from registry.rollout.snapshot import Measurement
from tests.registry.rollout.world import World, serving

GATE = {"name": "errors", "prometheus": {"query": "errors{", "max": 0.01, "samplesQuery": "n"}}
REFUSED = "Prometheus refuses the query: parse error: unexpected end of input"


class FakePrometheus:
    """Answers each query with a number, or with an error."""

    def __init__(self, **answers: float | Exception) -> None:
        self._answers = answers

    def ask(self, query: str) -> float | None:
        answer = self._answers["errors" if query.startswith("errors") else query]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as found:
        yield found


def at_gate() -> World:
    """Return a world in which version 2 waits at a gate."""
    world = serving(1, {"setWeight": 10}, {"gate": {}}, gates=[GATE])
    world.measurements = {}
    world.move_alias(2)
    world.settle()
    return world


def measured(world: World, prometheus: FakePrometheus, executor: ThreadPoolExecutor) -> Measurement:
    """Return what the gate is told."""
    resolver = Resolver(Models(), executor, lambda: 0.0, patience=1, notify=lambda _: None)
    return Measuring(resolver, prometheus.ask, executor).measure(world.snapshot(), "fleet")["errors"]


def test_a_wrong_query_says_what_prometheus_says_of_it(executor: ThreadPoolExecutor) -> None:
    world = at_gate()
    assert measured(world, FakePrometheus(n=3, errors=NotOneNumber(REFUSED)), executor).no_value == REFUSED
    of_samples = measured(world, FakePrometheus(n=NotOneNumber(REFUSED), errors=0.0), executor)
    assert of_samples.no_value == f"samplesQuery: {REFUSED}"


def test_an_outage_is_no_fault_of_the_query(executor: ThreadPoolExecutor) -> None:
    found = measured(at_gate(), FakePrometheus(n=3, errors=PrometheusUnavailable("away")), executor)
    assert (found.unavailable, found.no_value) == ("away", "")


def test_a_wrong_query_holds_the_step_until_its_deadline_and_is_named_in_status_and_conditions() -> None:
    world = at_gate()
    world.measurements = {"errors": Measurement(no_value=REFUSED)}
    world.settle()
    said = f"gate errors: {REFUSED}"
    assert (world.phase, world.status.message) == ("Progressing", f"fleet-2: {said}")
    progressing = next(one for one in world.status.conditions if one.type == "Progressing")
    assert progressing.message == f"fleet-2: {said}"
    assert [(gate.state, gate.message) for gate in world.status.gates] == [("NoData", said)]
    world.wait(700)
    assert world.status.rejected_revisions[0].reason == "DeadlineExceeded"
    assert REFUSED in world.status.rejected_revisions[0].message
