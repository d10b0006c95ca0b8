"""The registry's parts of `make bench`: latencies and fail-over, and the crowd; each in a namespace of its own."""

from __future__ import annotations

import os

from benchmarks.measuring import Plan
from benchmarks.registry import actions, crowd, failover
from benchmarks.registry.stage import stage

_ACTION_ROUNDS, _TIMES = 10, 3
_QUICK_CROWD = 20
_QUICK_ROUNDS = 2


def actions_and_failover(plan: Plan) -> dict[str, float]:
    """Return how soon a person's action is in the HTTPRoute, with a leader and without one.

    Raises:
        NotStarted: there is no cluster in KUBECONFIG, or something on it did not start or come to an end.

    """
    quick = plan.rounds <= _QUICK_ROUNDS
    figures: dict[str, float] = {}
    with stage(plan.folder / "actions") as where:
        figures |= actions.run(where, 1 if quick else _ACTION_ROUNDS, plan.say)
    with stage(plan.folder / "failover") as where:
        figures |= failover.run(where, 1 if quick else _TIMES, plan.say)
    return figures


def many(plan: Plan) -> dict[str, float]:
    """Return what so many ServedModels cost, and how soon an action is in its HTTPRoute among them.

    `TELLTALE_BENCH_SERVED_MODELS` says how many, 1,000 if nothing does.

    Raises:
        NotStarted: the same.

    """
    quick = plan.rounds <= _QUICK_ROUNDS
    count = _QUICK_CROWD if quick else int(os.environ.get("TELLTALE_BENCH_SERVED_MODELS", "1000"))
    with stage(plan.folder / "crowd") as where:
        return crowd.run(where, count, plan.say)
