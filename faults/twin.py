"""Schedules of the first kind: a scenario in bad weather must end as it ends in good weather."""

from __future__ import annotations

import random
from functools import cache

from faults.simulation import KEY, Bad, Simulation
from faults.stage import SimulatedStage
from faults.verdict import faults_at_rest
from killpoints.final_state import FinalState, differences, final_state
from killpoints.scenario import Scenario
from killpoints.scenarios import SCENARIOS, named

_STORM_SECONDS, _MOST_SECONDS, _CALM_SECONDS = 120.0, 900.0, 70.0
_FAIR = Bad()


def play(seed: int) -> list[str]:
    """Play the schedule of a seed; return what is wrong."""
    chooser = random.Random(f"twin {seed}")  # noqa: S311 - repeatable
    scenario = chooser.choice(SCENARIOS)
    bad = Bad(
        calls=chooser.choice((0.02, 0.1, 0.3)),
        dropped=chooser.choice((0.0, 0.1, 0.5, 1.0)),
        doubled=chooser.choice((0.0, 0.2)),
        rivals=chooser.choice((0.0, 0.0, 0.2)),
        outages=chooser.choice((0.0, 0.3)),
    )
    simulation, fault = _played(scenario, seed, bad)
    if fault is not None:
        return [f"{scenario.name}: {fault}"]
    wrong = [*faults_at_rest(simulation), *differences(_left_by(simulation, scenario), _expected(scenario.name))]
    return [f"{scenario.name}: {line}" for line in wrong]


@cache
def _expected(name: str) -> FinalState:
    scenario = named(name)
    simulation, fault = _played(scenario, 0, _FAIR)
    if fault is not None:
        raise AssertionError(f"{name} does not go as it says: {fault}")
    return _left_by(simulation, scenario)


def _left_by(simulation: Simulation, scenario: Scenario) -> FinalState:
    state = final_state(simulation.api, KEY.namespace, KEY.name, simulation.models)
    if scenario.while_down is not None:
        del state["mlflow"]  # what MLflow was told last depends on when the ServedModel went
    return state


def _played(scenario: Scenario, seed: int, bad: Bad) -> tuple[Simulation, str | None]:
    simulation = Simulation(seed, bad)
    stage = SimulatedStage(simulation, scenario.spec)
    simulation.cluster.install_gateway("gateway", "telltale", can_mirror=True)
    began = 0.0
    for step in (*scenario.before, *scenario.steps):
        began = simulation.now()
        step.do(stage)
        simulation.bad = bad
        if simulation.run_to_rest(lambda phase, step=step: phase == step.until, began, _STORM_SECONDS) is None:  # type: ignore[misc]
            continue
        _clear_up(simulation)
        fault = simulation.run_to_rest(lambda phase, step=step: phase == step.until, began, _MOST_SECONDS)  # type: ignore[misc]
        if fault is not None:
            return simulation, f"{fault}; it was to be in {step.until}"
    # What was lost in the storm is found by the next list, and the last step's phase must last.
    _clear_up(simulation)
    simulation.run(_CALM_SECONDS)
    until = scenario.steps[-1].until
    return simulation, simulation.run_to_rest(lambda phase: phase == until, began, _MOST_SECONDS)


def _clear_up(simulation: Simulation) -> None:
    if simulation.bad.outages:
        simulation.models.is_away = False
    simulation.bad = _FAIR
