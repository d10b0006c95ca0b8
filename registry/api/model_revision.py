"""ModelRevision: an immutable snapshot of what serves, and its outcome. History and undo stand on it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from registry.api.base import ApiModel, MicroTime, rules
from registry.api.served_model import PredictorSpec


class ModelRevisionSpec(ApiModel):
    """What serves; never changed."""

    model_config = ConfigDict(json_schema_extra=rules(("self == oldSelf", "a ModelRevision is immutable")))

    served_model: str
    model: str
    version: str
    mlflow_version: str
    mlflow_run_id: str
    digest: str
    """The artefact's digest, which the predictor checks."""
    feature_names: list[str] = Field(default_factory=list, max_length=1024)
    predictor: PredictorSpec


Outcome = Literal["Candidate", "Stable", "Superseded", "Rejected", "RolledBack"]


class ModelRevisionStatus(ApiModel):
    """What became of it."""

    outcome: Outcome = "Candidate"
    reason: str = ""
    message: str = ""
    weight: int = 0
    served_from: MicroTime | None = None
    served_until: MicroTime | None = None
    by: str | None = None
