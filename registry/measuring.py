"""What the gates' sources say of a candidate, asked only where a decision looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from datetime import timedelta

from registry.api.served_model import Gate, MlflowGate, PrometheusGate
from registry.errors import NotOneNumber, PrometheusUnavailable
from registry.prometheus import Ask, filled_in
from registry.resolving import Resolver
from registry.rollout.gates import needs_online_gates
from registry.rollout.snapshot import Action, Measurement, Snapshot, Target, Unknown

_URGENT = ("Abort", "Undo")


def is_urgent(actions: Iterable[Action]) -> bool:
    """Tell whether an action is there that must not wait for MLflow or Prometheus."""
    return any(action.kind in _URGENT for action in actions)


class Measuring:
    """Asks MLflow for offline gates and Prometheus for online ones.

    Args:
        resolver: knows the runs.
        ask: asks Prometheus; None where there is none.
        executor: asks several gates at once.
        of_gate: returns how Prometheus is asked for a gate, by its name; for whoever counts that.

    """

    def __init__(
        self,
        resolver: Resolver,
        ask: Ask | None,
        executor: Executor,
        of_gate: Callable[[str, Ask], Ask] = lambda _, ask: ask,
    ) -> None:
        self._resolver, self._ask, self._executor, self._of_gate = resolver, ask, executor, of_gate

    def measure(self, snapshot: Snapshot, namespace: str) -> Mapping[str, Measurement]:
        """Return what the gates need, by name; gates that no decision looks at are left out."""
        found: dict[str, Measurement] = {}
        if _needs_offline_gates(snapshot):
            found |= self._offline(snapshot)
        if needs_online_gates(snapshot):
            gates = [gate for gate in snapshot.spec.gates if gate.prometheus is not None]
            found |= self._online(gates, placeholders(snapshot, namespace), hurry=is_urgent(snapshot.actions))
        return found

    def _offline(self, snapshot: Snapshot) -> dict[str, Measurement]:
        candidate, stable = _run_of_candidate(snapshot), _run_of(snapshot, snapshot.status.stable_revision)
        hurry = is_urgent(snapshot.actions)
        return {
            gate.name: self._of_runs(gate.mlflow, candidate, stable, hurry=hurry)
            for gate in snapshot.spec.gates
            if gate.mlflow is not None
        }

    def _of_runs(self, gate: MlflowGate, candidate: str | None, stable: str | None, *, hurry: bool) -> Measurement:
        is_relative = gate.max_increase is not None or gate.max_decrease is not None
        values: list[float | None] = []
        for run_id in (candidate, stable if is_relative else None):
            run = None if run_id is None else self._resolver.run(run_id, hurry=hurry)
            if isinstance(run, Unknown):
                return Measurement(unavailable=run.message)
            values.append(None if run is None else run.metrics.get(gate.metric))
        return Measurement(value=values[0], baseline=values[1])

    def _online(self, gates: Iterable[Gate], values: Mapping[str, str], *, hurry: bool) -> dict[str, Measurement]:
        if hurry or self._ask is None:
            why = (
                "not asked: an action goes first" if hurry else "no Prometheus is configured (TELLTALE_PROMETHEUS_URL)"
            )
            return {gate.name: Measurement(unavailable=why) for gate in gates}
        asked = {
            gate.name: self._executor.submit(_measure, self._of_gate(gate.name, self._ask), gate.prometheus, values)
            for gate in gates
            if gate.prometheus is not None
        }
        return {name: future.result() for name, future in asked.items()}


def _measure(ask: Ask, gate: PrometheusGate, values: Mapping[str, str]) -> Measurement:
    try:
        samples = None if gate.samples_query is None else _count(ask, filled_in(gate.samples_query, values))
        return Measurement(value=ask(filled_in(gate.query, values)), samples=samples)
    except PrometheusUnavailable as error:
        return Measurement(unavailable=str(error))
    except NotOneNumber as error:
        return Measurement(no_value=str(error))


def _count(ask: Ask, samples_query: str) -> float | None:
    try:
        return ask(samples_query)
    except NotOneNumber as error:
        raise NotOneNumber(f"samplesQuery: {error}") from error


def placeholders(snapshot: Snapshot, namespace: str) -> dict[str, str]:
    """Return what a query's placeholders stand for; while baking, the candidate is what was promoted."""
    status = snapshot.status
    if status.candidate_revision is not None and status.attempt is not None:
        candidate, stable = status.candidate_revision, status.stable_revision
        since = status.attempt.traffic_since or status.attempt.step_started_at
    else:
        candidate, stable = status.stable_revision or "", status.previous_revision
        window = timedelta(seconds=snapshot.spec.rollback.auto_window_seconds)
        since = snapshot.now if status.baking_until is None else status.baking_until - window
    elapsed = max(int((snapshot.now - since).total_seconds()), 1)
    return {"candidate": candidate, "stable": stable or "", "namespace": namespace, "elapsed": str(elapsed)}


def _needs_offline_gates(snapshot: Snapshot) -> bool:
    """Tell whether the decision judges a candidate that has had no traffic, or plans one."""
    attempt = snapshot.status.attempt
    if snapshot.spec.plan_only:
        return True
    return attempt is not None and not attempt.weight and not attempt.step and not attempt.undo


def _run_of_candidate(snapshot: Snapshot) -> str | None:
    known = _run_of(snapshot, snapshot.status.candidate_revision)
    if known is None and isinstance(snapshot.resolution, Target):
        return snapshot.resolution.spec.mlflow_run_id
    return known


def _run_of(snapshot: Snapshot, revision: str | None) -> str | None:
    known = None if revision is None else snapshot.revisions.get(revision)
    return None if known is None else known.spec.mlflow_run_id
