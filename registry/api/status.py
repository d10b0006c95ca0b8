"""ServedModel's status: where a rollout stands. It is the controller's whole memory, written before any effect."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from registry.api.base import ApiModel, MicroTime
from registry.api.served_model import HeaderMatch, Phase

# As `metav1.Condition` has it.
CONDITION_TYPE = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)


class Condition(ApiModel):
    """A `metav1.Condition`."""

    type: str = Field(max_length=316, pattern=CONDITION_TYPE)
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    """Why, in one word."""
    message: str = Field(max_length=32_768)
    """Why, in a sentence."""
    observed_generation: int = Field(ge=0)
    """The generation of the spec that it is about."""
    last_transition_time: datetime
    """Since when it holds, or does not."""


class Resolved(ApiModel):
    """What the selector came to the last time that MLflow answered."""

    version: str
    """Telltale's model version id."""
    mlflow_version: str
    """MLflow's number of it."""
    digest: str
    """The artefact's digest."""
    revision: str
    """The ModelRevision that it is, served so."""
    at: MicroTime
    """When it first came to this."""


class Attempt(ApiModel):
    """One try to bring a candidate to all of the traffic."""

    id: str
    """The revision and the number of the try."""
    step: int = 0
    """Index of the step that is being done; as many as there are steps when all are done."""
    step_started_at: MicroTime
    """When this step began; a timed pause counts from then."""
    ready_at: MicroTime | None = None
    """Since when this step has what it needs (pods, traffic); its clock starts then."""
    weight: int = 0
    """Percent of requests for the candidate."""
    traffic_since: MicroTime | None = None
    """Since when the candidate gets just these requests; what `{elapsed}` in a gate's query counts from."""
    shadow_percent: int = 0
    """Percent of requests of which the candidate gets a copy."""
    match: HeaderMatch | None = None
    """Requests with this header go to the candidate."""
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
    waits_since: MicroTime | None = None
    """Since when it has waited for pods, the gateway or data without a break; the deadline counts from then."""


class GateStatus(ApiModel):
    """What a gate said of the newest candidate."""

    name: str
    """The gate's."""
    state: Literal["Passed", "Failed", "NoData", "Unavailable"]
    """NoData: its source answers and has no value yet. Unavailable: its source does not answer."""
    message: str
    """Why, in a sentence; while it passes, as it was when it began to."""
    since: MicroTime
    """When it began to say so."""


class Rejection(ApiModel):
    """A revision that must not be tried again, until somebody says Retry or the selector resolves elsewhere."""

    revision: str
    """Its name."""
    reason: str
    """Why, in one word."""
    message: str
    """Why, in a sentence."""
    at: MicroTime
    """When."""
    by: str | None = None
    """Who, where it was a person."""
    served: bool = False
    """It had been the stable one: it was rolled back, and not only refused."""
    lapsed: bool = False
    """It may be tried again: the selector means another by now. Kept until the ModelRevision says what became of it."""


class Pause(ApiModel):
    """A rollout that somebody holds."""

    at: MicroTime
    """Since when."""
    by: str
    """Who said Pause."""
    reason: str = ""
    """Why, as they put it."""


class ActionOutcome(ApiModel):
    """What came of an action; kept until it is written to the action's own status, and for people."""

    uid: str
    """The RolloutAction's."""
    state: Literal["Applied", "Ignored"]
    """Ignored: there was nothing that it could do."""
    message: str
    """What it did, or why nothing."""


class ServedModelStatus(ApiModel):
    """Where a rollout stands."""

    observed_generation: int = 0
    """The generation of the spec that this answers."""
    phase: Phase = "Pending"
    """Where the rollout stands."""
    message: str = ""
    """What it waits for, in a sentence."""
    resolved: Resolved | None = None
    """What the selector came to the last time that MLflow answered."""
    stable_revision: str | None = None
    """The revision that serves."""
    candidate_revision: str | None = None
    """The revision that is being rolled out, or taken back."""
    previous_revision: str | None = None
    """The former stable revision while its pods are kept warm."""
    warm_until: MicroTime | None = None
    """Until when that is."""
    baking_until: MicroTime | None = None
    """Until when the stable revision is watched after its promotion."""
    attempt: Attempt | None = None
    """How far the candidate has come."""
    attempts: int = 0
    """How many there were, ever."""
    paused: Pause | None = None
    """Who holds the rollout."""
    rejected_revisions: list[Rejection] = Field(default_factory=list)
    """What is not tried again until somebody says Retry."""
    processed_actions: list[str] = Field(default_factory=list)
    """UIDs of the newest actions that took effect; each takes effect once."""
    action_outcomes: list[ActionOutcome] = Field(default_factory=list)
    """What came of the newest of them; a crash loses none."""
    gates: list[GateStatus] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """What the gates last said of the newest candidate, also once it serves and while it is watched."""
    plan: list[str] = Field(default_factory=list)
    """With planOnly: what would be done."""
    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """What other programs read. Ready, Reconciling and Stalled are kstatus's."""
