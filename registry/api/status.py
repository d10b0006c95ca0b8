"""ServedModel's status: where a rollout stands. It is the controller's whole memory, written before any effect."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from registry.api.base import ApiModel, MicroTime
from registry.api.served_model import HeaderMatch, Phase


class Condition(ApiModel):
    """A `metav1.Condition`."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    observed_generation: int
    last_transition_time: datetime


class Resolved(ApiModel):
    """What the selector came to the last time that MLflow answered."""

    version: str
    mlflow_version: str
    digest: str
    revision: str
    at: MicroTime


class Attempt(ApiModel):
    """One try to bring a candidate to all of the traffic."""

    id: str
    """The revision and the number of the try."""
    step: int = 0
    """Index of the step that is being done; as many as there are steps when all are done."""
    step_started_at: MicroTime
    ready_at: MicroTime | None = None
    """Since when this step has what it needs (pods, traffic); its clock starts then."""
    weight: int = 0
    shadow_percent: int = 0
    match: HeaderMatch | None = None
    samples: int = 0
    """What the last online gate stood on."""
    approved_by: str | None = None
    """Who approved the current approval step."""
    resumed: bool = False
    """Somebody said Resume at this step's pause."""
    promoted: bool = False
    """The rest of the steps is skipped: somebody said Promote, or it is the way back to a former revision."""
    undo: bool = False
    """It is the way back to a former revision, whose pods are started again."""
    unavailable_since: MicroTime | None = None
    """Since when a source that the step needs is away; its deadline waits for that."""


class Rejection(ApiModel):
    """A revision that must not be tried again, until somebody says Retry or the selector resolves elsewhere."""

    revision: str
    reason: str
    message: str
    at: MicroTime
    by: str | None = None
    served: bool = False
    """It had been the stable one: it was rolled back, and not only refused."""


class Pause(ApiModel):
    """A rollout that somebody holds."""

    at: MicroTime
    by: str
    reason: str = ""


class ActionOutcome(ApiModel):
    """What came of an action; kept until it is written to the action's own status, and for people."""

    uid: str
    state: Literal["Applied", "Ignored"]
    message: str


class ServedModelStatus(ApiModel):
    """Where a rollout stands."""

    observed_generation: int = 0
    phase: Phase = "Pending"
    message: str = ""
    """What it waits for, in a sentence."""
    resolved: Resolved | None = None
    stable_revision: str | None = None
    candidate_revision: str | None = None
    previous_revision: str | None = None
    """The former stable revision while its pods are kept warm."""
    warm_until: MicroTime | None = None
    baking_until: MicroTime | None = None
    attempt: Attempt | None = None
    attempts: int = 0
    """How many there were, ever."""
    paused: Pause | None = None
    rejected_revisions: list[Rejection] = Field(default_factory=list)
    processed_actions: list[str] = Field(default_factory=list)
    """UIDs of the newest actions that took effect; each takes effect once."""
    action_outcomes: list[ActionOutcome] = Field(default_factory=list)
    """What came of the newest of them; a crash loses none."""
    plan: list[str] = Field(default_factory=list)
    """With planOnly: what would be done."""
    conditions: list[Condition] = Field(default_factory=list)
