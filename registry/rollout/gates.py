"""Gates: pass, fail, and two kinds of not knowing. PURE.

A value that is missing is not a value that is good: no data holds a step until its deadline, and a source that is away
holds it for as long as it is away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from registry.api.served_model import Gate, MlflowGate, PrometheusGate
from registry.api.status import GateStatus
from registry.rollout.snapshot import Measurement, Snapshot, current_step

# The last look at a revision that is watched may come that much late.
_LATE = timedelta(seconds=5)
State = Literal["Passed", "Failed", "NoData", "Unavailable"]  # as in GateStatus


@dataclass(frozen=True)
class Verdict:
    """A gate's answer, with a sentence for people."""

    gate: str
    state: State
    message: str


def judge(gate: Gate, measured: Measurement | None, *, has_stable: bool) -> Verdict:
    """Return a gate's verdict.

    Args:
        gate: what is demanded.
        measured: what its source said; None where it was not asked, which is no data.
        has_stable: whether there is a stable revision; without one, relative limits and queries do not apply.

    """
    measured = measured or Measurement()
    if measured.unavailable is not None:
        return Verdict(gate.name, "Unavailable", f"gate {gate.name}: {measured.unavailable}")
    if gate.mlflow is not None:
        return _judge_mlflow(gate.name, gate.mlflow, measured, has_stable=has_stable)
    if gate.prometheus is None:
        return Verdict(gate.name, "Failed", f"gate {gate.name} has neither mlflow nor prometheus")
    return _judge_prometheus(gate.name, gate.prometheus, measured, has_stable=has_stable)


def needs_online_gates(snapshot: Snapshot) -> bool:
    """Tell whether a decision on this snapshot looks at Prometheus; the gatherer asks only then."""
    status = snapshot.status
    if status.baking_until is not None and snapshot.now < status.baking_until + _LATE:
        return True
    step = current_step(status, snapshot.spec)
    return step is not None and step.gate is not None


def online_gates(gates: list[Gate], names: list[str] | None) -> list[Gate]:
    """Return the online gates of a step: those it names, else all."""
    return [gate for gate in gates if gate.prometheus is not None and (names is None or gate.name in names)]


def worst(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Return the verdict that counts: a failure before what is not known, that before success; None of none."""
    return min(verdicts, key=lambda verdict: _ORDER[verdict.state], default=None)


def noted(known: Iterable[GateStatus], verdicts: Iterable[Verdict], now: datetime) -> list[GateStatus]:
    """Return what is to be said of gates after new verdicts.

    A gate that goes on passing keeps the words of when it began to: its value changes at every look, and a status that
    did so would be written at every look.
    """
    found = {status.name: status for status in known}
    for verdict in verdicts:
        former = found.get(verdict.gate)
        if former is not None and former.state == verdict.state == "Passed":
            continue
        since = former.since if former is not None and former.state == verdict.state else now
        found[verdict.gate] = GateStatus(name=verdict.gate, state=verdict.state, message=verdict.message, since=since)
    return list(found.values())


_STABLE = "{stable}"
_ORDER: Mapping[State, int] = {"Failed": 0, "Unavailable": 1, "NoData": 2, "Passed": 3}


def _judge_mlflow(name: str, gate: MlflowGate, measured: Measurement, *, has_stable: bool) -> Verdict:
    value = _number(measured.value)
    absolute = gate.min is not None or gate.max is not None
    relative = has_stable and (gate.max_increase is not None or gate.max_decrease is not None)
    if not absolute and not relative:
        return Verdict(name, "Passed", f"gate {name} compares with the stable version, and there is none")
    if value is None:
        return Verdict(name, "NoData", f"gate {name}: the run has no metric {gate.metric}")
    fault = _outside(value, gate.min, gate.max)
    if fault is None and relative:
        baseline = _number(measured.baseline)
        if baseline is None:
            return Verdict(name, "NoData", f"gate {name}: the stable version's run has no metric {gate.metric}")
        fault = _too_far(value, baseline, gate.max_increase, gate.max_decrease)
    return _verdict(name, f"{gate.metric} is {value:.6g}", fault)


def _judge_prometheus(name: str, gate: PrometheusGate, measured: Measurement, *, has_stable: bool) -> Verdict:
    if not has_stable and _STABLE in f"{gate.query} {gate.samples_query}":
        return Verdict(name, "Passed", f"gate {name} compares with the stable revision, and there is none")
    if measured.no_value:
        return Verdict(name, "NoData", f"gate {name}: {measured.no_value}")
    if gate.minimum_samples is not None:
        samples = _number(measured.samples) or 0.0
        if samples < gate.minimum_samples:
            return Verdict(name, "NoData", f"gate {name} has {samples:.0f} of {gate.minimum_samples} samples")
    value = _number(measured.value)
    if value is None:
        return Verdict(name, "NoData", f"gate {name}: the query has no value")
    fault = _outside(value, gate.min, gate.max)
    if fault is None and math.isinf(value):
        return Verdict(
            name, "NoData", f"gate {name}: the query is {value:+}, which is what a division by nothing gives"
        )
    return _verdict(name, f"the query is {value:.6g}", fault)


def _verdict(name: str, found: str, fault: str | None) -> Verdict:
    if fault is None:
        return Verdict(name, "Passed", f"gate {name}: {found}")
    return Verdict(name, "Failed", f"gate {name}: {found}, {fault}")


def _outside(value: float, least: float | None, most: float | None) -> str | None:
    if least is not None and value < least:
        return f"less than the {least:.6g} that it must be at least"
    if most is not None and value > most:
        return f"more than the {most:.6g} that it may be at most"
    return None


def _too_far(value: float, baseline: float, increase: float | None, decrease: float | None) -> str | None:
    if increase is not None and value > baseline + increase:
        return f"more than {increase:.6g} above the stable version's {baseline:.6g}"
    if decrease is not None and value < baseline - decrease:
        return f"more than {decrease:.6g} below the stable version's {baseline:.6g}"
    return None


def _number(value: float | None) -> float | None:
    """Return a value that can be compared; NaN is what a query gives when it divides nothing by nothing."""
    return None if value is None or math.isnan(value) else value
