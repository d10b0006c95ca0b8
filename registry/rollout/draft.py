"""The status while a decision is being made: what was, changed step by step, and frozen at the end. PURE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from registry.api.model_revision import Outcome
from registry.api.served_model import Gate, Phase, Step
from registry.api.status import ActionOutcome, Attempt, Rejection, ServedModelStatus
from registry.rollout.freeze import frozen_until
from registry.rollout.gates import Verdict, judge, noted, worst
from registry.rollout.intent import ActionResult, Event, RevisionOutcome
from registry.rollout.snapshot import Action, Revision, Snapshot, Target, current_step

MOST_PROCESSED = 100
MOST_REPORTED = 20


@dataclass
class Draft:
    """A decision under way; only this module's callers see it change."""

    snapshot: Snapshot
    status: ServedModelStatus
    create: Target | None = None
    outcomes: list[RevisionOutcome] = field(default_factory=list)
    results: list[ActionResult] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    due: list[datetime] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """The moment of the decision."""
        return self.snapshot.now

    def set(self, **changes: Any) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    def set_attempt(self, **changes: Any) -> None:
        """Change fields of the attempt that is under way."""
        if self.status.attempt is None:
            raise AssertionError("there is no attempt to change")
        self.set(attempt=self.status.attempt.model_copy(update=changes))

    def route(self, **changes: Any) -> None:
        """Change which requests the candidate gets: weight, match, shadow_percent."""
        self.set_attempt(**changes, traffic_since=self.now)

    def phase(self, phase: Phase, message: str) -> None:
        """Say where the rollout stands; a change of phase is an event."""
        if phase != self.status.phase:
            self.event(phase, message)
        self.set(phase=phase, message=message)

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Note something for people."""
        self.events.append(Event(reason, message, warning))

    def look_again_at(self, moment: datetime) -> None:
        """Ask for another decision at ``moment``, at the latest."""
        self.due.append(moment)

    def look_again_in(self, seconds: float) -> None:
        """Ask for another decision in ``seconds``, at the latest."""
        self.due.append(self.now + timedelta(seconds=seconds))

    def applied(self, action: Action, message: str) -> None:
        """Note that an action took effect."""
        self._processed(action, ActionResult(action.uid, "Applied", message))
        self.event(action.kind, f"{action.by}: {message}" + (f" ({action.reason})" if action.reason else ""))

    def ignored(self, action: Action, message: str) -> None:
        """Note that there was nothing that an action could do."""
        self._processed(action, ActionResult(action.uid, "Ignored", message))
        self.event(f"{action.kind}Ignored", f"{action.by}: {message}", warning=True)

    def outcome(self, revision: str, outcome: Outcome, reason: str, message: str, by: str | None = None) -> None:
        """Note what became of a revision."""
        self.outcomes.append(RevisionOutcome(revision, outcome, reason, message, by))

    def reject(self, revision: str, reason: str, message: str, by: str | None = None, *, served: bool = False) -> None:
        """Keep a revision from being tried again."""
        others = [rejection for rejection in self.status.rejected_revisions if rejection.revision != revision]
        rejection = Rejection(revision=revision, reason=reason, message=message, at=self.now, by=by, served=served)
        self.set(rejected_revisions=[*others, rejection])

    def judge(self, gates: Iterable[Gate]) -> Verdict | None:
        """Judge gates, take down what they say, and return the verdict that counts; None where there are none."""
        has_stable = self.status.stable_revision is not None
        measured = self.snapshot.measurements
        verdicts = [judge(gate, measured.get(gate.name), has_stable=has_stable) for gate in gates]
        self.set(gates=noted(self.status.gates, verdicts, self.now))
        return worst(verdicts)

    def rejection_of(self, revision: str) -> Rejection | None:
        """Return why a revision is not tried again, or None if it may be."""
        return next((rejection for rejection in self.rejections if rejection.revision == revision), None)

    @property
    def rejections(self) -> list[Rejection]:
        """What is not to be tried again."""
        return [rejection for rejection in self.status.rejected_revisions if not rejection.lapsed]

    def revision(self, name: str | None) -> Revision | None:
        """Return what is known of a revision."""
        return None if name is None else self.snapshot.revisions.get(name)

    @property
    def candidate(self) -> Revision | None:
        """The candidate, once it exists."""
        return self.revision(self.status.candidate_revision)

    @property
    def stable(self) -> Revision | None:
        """The revision that serves."""
        return self.revision(self.status.stable_revision)

    @property
    def attempt(self) -> Attempt:
        """The attempt under way."""
        if self.status.attempt is None:
            raise AssertionError("there is no attempt")
        return self.status.attempt

    @property
    def current_step(self) -> Step | None:
        """The step that is being done, if there is one."""
        return current_step(self.status, self.snapshot.spec)

    @property
    def frozen_until(self) -> datetime | None:
        """When the freeze window that it is in ends; None outside of all."""
        return frozen_until(self.snapshot.spec.freeze_windows, self.now)

    def _processed(self, action: Action, result: ActionResult) -> None:
        self.results.append(result)
        outcome = ActionOutcome(uid=result.uid, state=result.state, message=result.message)
        self.set(
            processed_actions=[*self.status.processed_actions, action.uid][-MOST_PROCESSED:],
            action_outcomes=[*self.status.action_outcomes, outcome][-MOST_REPORTED:],
        )
