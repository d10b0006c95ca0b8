"""ModelRevision: an immutable snapshot of what serves, and its outcome. History and undo stand on it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from registry.api.base import ApiModel, MicroTime, rules
from registry.api.served_model import MlflowName, Name, PredictorSpec


class ModelRevisionSpec(ApiModel):
    """What serves; never changed."""

    model_config = ConfigDict(json_schema_extra=rules(("self == oldSelf", "a ModelRevision is immutable")))

    served_model: Name
    """The ServedModel that it belongs to."""
    model: MlflowName
    """The registered model's name."""
    version: str = Field(min_length=1, max_length=64)
    """Telltale's model version id."""
    mlflow_version: str = Field(min_length=1, max_length=64)
    """MLflow's number of it."""
    mlflow_run_id: str = Field(max_length=64)
    """The MLflow run that registered it."""
    digest: str = Field(min_length=1, max_length=128)
    """The artefact's digest, which the predictor checks."""
    feature_names: list[Annotated[str, Field(max_length=500)]] = Field(default_factory=list, max_length=1024)
    """What it takes, in order."""
    predictor: PredictorSpec
    """The pods that answer. Of the replica counts those of the ServedModel hold."""


Outcome = Literal["Candidate", "Stable", "Superseded", "Rejected", "RolledBack"]


class ModelRevisionStatus(ApiModel):
    """What became of it."""

    outcome: Outcome = "Candidate"
    """Candidate: it is being rolled out. Stable: it serves. Superseded: another took its place. Rejected: it never got
    everything. RolledBack: it did, and was taken back."""
    reason: str = ""
    """Why, in one word."""
    message: str = ""
    """Why, in a sentence."""
    weight: int = 0
    """Percent of requests that it gets."""
    served_from: MicroTime | None = None
    """Since when it was the stable one, the last time."""
    served_until: MicroTime | None = None
    """Until when."""
    by: str | None = None
    """Who rejected it, where that was a person."""
