"""The registry's part of `make bench`: latencies, then fail-over, then the crowd; each in a namespace of its own."""

from __future__ import annotations

import os

from benchmarks.measuring import Plan
from benchmarks.registry import actions, crowd, failover
from benchmarks.registry.stage import stage

_ACTION_ROUNDS, _TIMES = 10, 3
_QUICK_CROWD = 20
_QUICK_ROUNDS = 2


def run(plan: Plan) -> dict[str, float]:
    """Return all figures of the controller.

    `TELLTALE_BENCH_SERVED_MODELS` says how many ServedModels a crowd has, 1,000 if nothing does.

    Raises:
        NotStarted: there is no cluster in KUBECONFIG, or something on it did not start or come to an end.

    """
    quick = plan.rounds <= _QUICK_ROUNDS
    count = _QUICK_CROWD if quick else int(os.environ.get("TELLTALE_BENCH_SERVED_MODELS", "1000"))
    figures: dict[str, float] = {}
    with stage(plan.folder / "actions") as where:
        figures |= actions.run(where, 1 if quick else _ACTION_ROUNDS, plan.say)
    with stage(plan.folder / "failover") as where:
        figures |= failover.run(where, 1 if quick else _TIMES, plan.say)
    with stage(plan.folder / "crowd") as where:
        figures |= crowd.run(where, count, plan.say)
    return figures
