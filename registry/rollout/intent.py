"""What a decision comes to: the status to write, and what follows from it. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from registry.api.model_revision import Outcome
from registry.api.status import ServedModelStatus
from registry.rollout.snapshot import Target


@dataclass(frozen=True)
class Event:
    """Something that happened, for `kubectl describe`, the webhook and the log."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class ActionResult:
    """What came of an action."""

    uid: str
    state: Literal["Applied", "Ignored"]
    message: str


@dataclass(frozen=True)
class RevisionOutcome:
    """What became of a revision."""

    revision: str
    outcome: Outcome
    reason: str
    message: str
    by: str | None = None


@dataclass(frozen=True)
class Intent:
    """A decision.

    Args:
        status: to be written before anything else, against the resourceVersion that was read.
        create: the revision to create before that, or None.
        outcomes: of revisions, for ModelRevision's status and MLflow's tags.
        results: of actions.
        events: for people.
        look_again: when something is due, at the latest; None where only a change can bring something.

    """

    status: ServedModelStatus
    create: Target | None = None
    outcomes: tuple[RevisionOutcome, ...] = ()
    results: tuple[ActionResult, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: datetime | None = None
