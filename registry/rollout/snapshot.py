"""All that a decision looks at, frozen at one moment. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from registry.api.model_revision import ModelRevisionSpec, Outcome
from registry.api.rollout_action import Kind
from registry.api.served_model import ServedModelSpec, Step
from registry.api.status import ServedModelStatus


@dataclass(frozen=True)
class Target:
    """The revision that the selector means now."""

    revision: str
    spec: ModelRevisionSpec


@dataclass(frozen=True)
class NotFound:
    """MLflow answered, and what the selector means is not there or cannot be served; ``reason`` is one word."""

    reason: str
    message: str


@dataclass(frozen=True)
class Unknown:
    """MLflow did not answer."""

    message: str


Resolution = Target | NotFound | Unknown


@dataclass(frozen=True)
class Revision:
    """A ModelRevision and its pods.

    Args:
        name: of the ModelRevision and of its InferenceService.
        spec: what serves.
        outcome: what became of it.
        served_until: when it stopped being the stable one.
        ready: whether its pods, of the wanted version and digest, take requests.
        lost: whether not one of its pods takes requests; while a Deployment is being changed it is neither.
        fault: why its pods will never be ready, where that is known.
        waits_for: what keeps its pods from being ready now, where that is known.

    """

    name: str
    spec: ModelRevisionSpec
    outcome: Outcome = "Candidate"
    served_until: datetime | None = None
    ready: bool = False
    lost: bool = False
    fault: str | None = None
    waits_for: str = ""


@dataclass(frozen=True)
class Action:
    """A RolloutAction that has not taken effect."""

    uid: str
    kind: Kind
    by: str
    reason: str
    created_at: datetime
    to_revision: str | None = None


@dataclass(frozen=True)
class Measurement:
    """What a gate's source said of the candidate.

    Args:
        value: the metric; None where the source has none.
        baseline: the same of the stable revision, for relative gates.
        samples: what the value stands on, where the gate counts that.
        no_value: why there never will be a value, unless somebody mends the gate.
        unavailable: why the source could not be asked; then nothing else is known.

    """

    value: float | None = None
    baseline: float | None = None
    samples: float | None = None
    no_value: str = ""
    unavailable: str | None = None


@dataclass(frozen=True)
class Traffic:
    """What the gateway does.

    Args:
        in_sync: whether the routes are as the status wants them, and the gateway has taken them.
        can_mirror: whether it can copy requests; None where that is not known.
        message: what is wrong, for people.
        name_taken: whether that is because another's object has the name of one of ours, until somebody deletes it.

    """

    in_sync: bool = True
    can_mirror: bool | None = None
    message: str = ""
    name_taken: bool = False


@dataclass(frozen=True)
class Snapshot:
    """The whole input of a decision."""

    now: datetime
    name: str
    generation: int
    spec: ServedModelSpec
    status: ServedModelStatus
    resolution: Resolution
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    traffic: Traffic = Traffic()


def current_step(status: ServedModelStatus, spec: ServedModelSpec) -> Step | None:
    """Return the step that is done; None after the last, and where there is no attempt or the rest is skipped."""
    attempt, steps = status.attempt, spec.rollout.steps
    if attempt is None or attempt.promoted or attempt.step >= len(steps):
        return None
    return steps[attempt.step]
