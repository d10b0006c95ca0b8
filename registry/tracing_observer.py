"""Tells what a decision changed: the log in one line, Prometheus, and the trace of the attempt that it belongs to.

It is told after the status is written, so each change is told once, by the replica whose write counted.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from registry.api.status import ServedModelStatus
from registry.gather import Gathered
from registry.rollout.intent import Intent
from registry.rollout.manifests import weights
from registry.rollout_metrics import RolloutMetrics, Serving, Standing
from registry.tracing import Look, Tracing, current_look
from registry.tracing_change import attempt_in, conditions_changed, ending_of, endings, has_changed, place_of, undone_by
from registry.tracing_sources import ObservedModels
from registry.work_queue import Key
from telemetry.spans import Span, SpanPlace, Value

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Observer:
    """Tells of decisions.

    Args:
        rollouts: shows where rollouts stand.
        tracing: takes looks down.
        models: knows in which spans versions were trained.

    """

    def __init__(self, rollouts: RolloutMetrics, tracing: Tracing, models: ObservedModels) -> None:
        self._rollouts, self._tracing, self._models = rollouts, tracing, models

    def decided(self, key: Key, gathered: Gathered, intent: Intent) -> None:
        """Tell of a decision that is written."""
        before, after = gathered.snapshot.status, intent.status
        look = current_look.get()
        if look is not None:
            self._trace(look, gathered, intent)
        self._rollouts.stands(key, _standing(gathered, after))
        for ending in endings(before, intent):
            self._rollouts.ended(key, ending.outcome, ending.reason)
        kinds = {action.uid: action.kind for action in gathered.snapshot.actions}
        for result in intent.results:
            self._rollouts.acted(key, kinds.get(result.uid, "unknown"), result.state)
        is_news = bool(intent.events) or has_changed(before, after)
        if look is not None:
            look.has_news = is_news
        if is_news:
            _log_decision(key, before, intent)

    def refused(self, key: Key, status: ServedModelStatus, fault: str, *, is_news: bool) -> None:
        """Tell of a spec that cannot be followed."""
        former = self._rollouts.standing(key)
        serving = None if former is None else former.serving
        self._rollouts.stands(key, Standing(status.phase, _weight(status), _gates(status), serving))
        if is_news:
            _log.warning("InvalidSpec: %s", fault, extra={"served_model": key.name, "namespace": key.namespace})

    def gone(self, key: Key) -> None:
        """Forget a ServedModel that is gone."""
        self._rollouts.gone(key)
        self._tracing.forget(key)

    def _trace(self, look: Look, gathered: Gathered, intent: Intent) -> None:
        before, after, uid = gathered.snapshot.status, intent.status, gathered.owner.uid
        was, now = attempt_in(before), attempt_in(after)
        if was is None and now is None:
            was = undone_by(before, intent)
        revision = after.candidate_revision or before.candidate_revision or after.stable_revision
        trained = self._trained(gathered, revision)
        look.links = () if trained is None else (trained,)
        # Of an attempt that another replica began, or a controller before this one, the status knows when.
        since = None if was is None or was != attempt_in(before) else _begun(before, was)
        if was is not None and was != now:
            look.over = self._rollout_span(look, gathered, was, after, since)
        if now is not None:
            self._tracing.belongs(look, now, place_of(uid, now), since if was == now else None, goes_on=True)
            if was is not None and was != now:
                look.links = (*look.links, place_of(uid, was))
        look.name = f"reconcile {after.phase}"
        look.attributes |= _attributes(look.key, before, after, now or was)

    def _rollout_span(
        self, look: Look, gathered: Gathered, attempt: str, after: ServedModelStatus, since: int | None
    ) -> Span:
        """Return the span that closes an attempt; all of its looks are below it."""
        place, ending = place_of(gathered.owner.uid, attempt), ending_of(attempt, after)
        began = self._tracing.belongs(look, attempt, place, since, goes_on=False).began
        attributes: dict[str, Value] = {
            "k8s.namespace.name": look.key.namespace,
            "telltale.served_model": look.key.name,
            "telltale.attempt": attempt,
            "telltale.revision": ending.revision,
            "telltale.outcome": ending.outcome,
            "telltale.reason": ending.reason,
        }
        revision = gathered.snapshot.revisions.get(ending.revision)
        if revision is not None:
            attributes |= {"telltale.model": revision.spec.model, "telltale.model_version": revision.spec.version}
        trained = self._trained(gathered, ending.revision)
        links = () if trained is None else (trained,)
        return Span("rollout", place, None, began, self._tracing.now(), attributes=attributes, links=links)

    def _trained(self, gathered: Gathered, revision: str | None) -> SpanPlace | None:
        """Return the span in which a revision's version was trained."""
        known = None if revision is None else gathered.snapshot.revisions.get(revision)
        target = gathered.snapshot.resolution
        spec = known.spec if known is not None else getattr(target, "spec", None)
        return None if spec is None else self._models.trained(spec.model, spec.mlflow_version)


def _standing(gathered: Gathered, status: ServedModelStatus) -> Standing:
    stable = gathered.snapshot.revisions.get(status.stable_revision or "")
    serving = None
    if stable is not None:
        spec = stable.spec
        serving = Serving(spec.model, spec.version, spec.mlflow_version, stable.name)
    return Standing(status.phase, _weight(status), _gates(status), serving)


def _weight(status: ServedModelStatus) -> int | None:
    return None if status.candidate_revision is None else weights(status).get(status.candidate_revision, 0)


def _gates(status: ServedModelStatus) -> dict[str, str]:
    return {gate.name: gate.state for gate in status.gates}


def _attributes(key: Key, before: ServedModelStatus, after: ServedModelStatus, attempt: str | None) -> dict[str, Value]:
    found = {
        "k8s.namespace.name": key.namespace,
        "telltale.served_model": key.name,
        "telltale.attempt": attempt,
        "telltale.phase.before": before.phase,
        "telltale.phase": after.phase,
        "telltale.stable": after.stable_revision,
        "telltale.candidate": after.candidate_revision,
        "telltale.weight": _weight(after),
        "telltale.step": None if after.attempt is None else after.attempt.step,
        "telltale.message": after.message,
    }
    return {name: value for name, value in found.items() if value is not None}


def _log_decision(key: Key, before: ServedModelStatus, intent: Intent) -> None:
    after = intent.status
    happened = [f"{event.reason}: {event.message}" for event in intent.events]
    said = "; ".join(happened or [f"{after.phase}: {after.message}", *conditions_changed(before, after)])
    fields: dict[str, Any] = {
        "served_model": key.name,
        "namespace": key.namespace,
        "attempt": attempt_in(after) or attempt_in(before),
        "former_phase": before.phase,
        "phase": after.phase,
        "stable": after.stable_revision,
        "candidate": after.candidate_revision,
        "weight": _weight(after),
        "step": None if after.attempt is None else after.attempt.step,
        "reasons": [event.reason for event in intent.events],
    }
    level = logging.WARNING if any(event.warning for event in intent.events) else logging.INFO
    _log.log(level, "%s", said, extra={name: value for name, value in fields.items() if value not in (None, [])})


def _begun(status: ServedModelStatus, attempt: str) -> int | None:
    """Return when the selector came to what an attempt brings, in nanoseconds since 1970."""
    resolved = status.resolved
    if resolved is None or attempt.partition("/")[0] != resolved.revision:
        return None
    return (resolved.at - _EPOCH) // timedelta(microseconds=1) * 1000
