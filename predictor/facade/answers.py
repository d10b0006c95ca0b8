"""What the routes answer, as typed structures: the wire names are the field names, in this order. PURE."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from store.ingest_log import BatchRow, State


class Trained(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch that was stored and trained (201); ``reason`` says why its version is not served, if it is not."""

    model_version: str
    record_count: int
    model: str
    batch_id: str
    job: str
    warnings: list[str]
    served: bool
    reason: str | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A batch that was stored and is still to be trained (202)."""

    job: str
    model: str
    model_version: str
    record_count: int
    state: State
    warnings: list[str]


class Job(msgspec.Struct, frozen=True):
    """An ingest job; ``gate`` is the offline gate's verdict, once it is given."""

    job: str
    state: State
    model: str
    model_version: str
    record_count: int
    received_at: datetime
    served: bool
    error: str | None
    warnings: list[str]
    gate: Literal["passed", "refused"] | None
    gate_reason: str | None


class ModelVersion(msgspec.Struct, frozen=True):
    """A version of a model that can be served."""

    model_version: str
    is_default: bool
    is_loaded: bool
    digest: str | None = None
    training_records: int | None = None
    created_at: datetime | None = None
    mlflow_run_id: str | None = None
    mlflow_version: str | None = None
    error: str | None = None


class Versions(msgspec.Struct, frozen=True):
    """A model's versions, newest first."""

    model: str
    default_version: str | None
    feature_names: list[str]
    versions: list[ModelVersion]


class Model(msgspec.Struct, frozen=True):
    """A model that can be served."""

    model: str
    default_version: str | None
    loaded_versions: list[str]
    newest_version: str | None


class Models(msgspec.Struct, frozen=True):
    """All models that can be served."""

    models: list[Model]


class ServedModel(msgspec.Struct, frozen=True):
    """A model's default version in memory, and the digest of its artefact."""

    model: str
    model_version: str
    digest: str


class Dependency(msgspec.Struct, frozen=True):
    """A store that the predictor uses, whether it answers, and what it says."""

    ok: bool
    detail: str


class Dependencies(msgspec.Struct, frozen=True):
    """The stores that the predictor uses."""

    postgres: Dependency
    object_store: Dependency


class Health(msgspec.Struct, frozen=True):
    """Status with models and dependencies; ``problems`` says what is degraded."""

    status: Literal["ok", "degraded"]
    models: list[ServedModel]
    problems: list[str]
    dependencies: Dependencies


class Readiness(msgspec.Struct, frozen=True):
    """Whether every served model is loaded; ``waiting_for`` says for what it waits."""

    ready: bool
    models: list[ServedModel]
    waiting_for: list[str]


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["alive"] = "alive"


def trained(row: BatchRow, *, reason: str | None) -> Trained:
    """Return the answer for a batch whose version exists; ``reason`` says why it is not served, if so."""
    return Trained(
        model_version=row.version,
        record_count=row.record_count,
        model=row.model,
        batch_id=row.id,
        job=row.id,
        warnings=row.warnings,
        served=reason is None,
        reason=reason,
    )


def accepted(row: BatchRow) -> Accepted:
    """Return the answer for a batch that is still to be trained."""
    return Accepted(row.id, row.model, row.version, row.record_count, row.state, row.warnings)


def job(row: BatchRow, *, served: bool) -> Job:
    """Return what is known about a batch."""
    return Job(
        job=row.id,
        state=row.state,
        model=row.model,
        model_version=row.version,
        record_count=row.record_count,
        received_at=row.received_at,
        served=served,
        error=row.error,
        warnings=row.warnings,
        gate=row.gate,
        gate_reason=row.gate_reason,
    )
