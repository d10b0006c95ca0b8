"""The trainer's settings, read once from the environment by its composition root."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.object_url import ObjectStoreUrl


class TrainerSettings(BaseSettings):
    """What can be set, each with its meaning, unit and the reason for its default."""

    model_config = SettingsConfigDict(env_prefix="TELLTALE_", frozen=True, extra="ignore", populate_by_name=True)

    database_url: str = Field(
        "postgresql://telltale@127.0.0.1:5432/telltale",
        validation_alias="DATABASE_URL",
        description="PostgreSQL: batches and the training queue.",
    )
    object_store: ObjectStoreUrl = Field(
        ".telltale/objects", description="The object store, for batches and models: a folder, or s3://bucket/prefix."
    )
    mlflow_tracking_uri: str = Field(
        "postgresql+psycopg://telltale@127.0.0.1:5432/telltale",
        validation_alias="MLFLOW_TRACKING_URI",
        description="MLflow's tracking server, or a database that holds its store.",
    )
    mlflow_artifact_root: Path = Field(
        Path(".telltale/mlflow"),
        description="Folder for the artefacts of MLflow runs, for models that are trained for the first time.",
    )
    window_records: int = Field(
        100_000,
        ge=1,
        description="How many records a model is trained on at most: its batch and the newest before it. Trees see"
        " samples of 256, so more records hardly change a forest; they only sharpen its threshold.",
    )
    window_values: int = Field(
        10_000_000,
        ge=1,
        description="How many values (records times features) a window holds at most: 80 MB, of which training needs"
        " a few copies. Only models of more than 100 features meet it.",
    )
    window_batches: int = Field(
        1_000,
        ge=1,
        description="How many batches a window is read from at most; to read a thousand takes some seconds.",
    )
    n_estimators: int = Field(200, ge=1, le=10_000, description="Trees in a forest; scores hardly change beyond 200.")
    contamination: float = Field(
        0.05, gt=0, le=0.5, description="Share of the training records that are to come out as anomalous."
    )
    min_holdout_records: int = Field(
        20,
        ge=5,
        description="Records below which nothing is held out for the evaluation: a fifth of fewer tells nothing.",
    )
    max_attempts: int = Field(
        5,
        ge=1,
        description="Attempts at a batch before it fails for good, by all workers together. Outages of a store do not"
        " count.",
    )
    max_losses: int = Field(
        20,
        ge=1,
        description="Worker processes that may end at a batch before it fails for good. Many, since a machine that"
        " goes, or a neighbour that takes the memory, says nothing against the batch.",
    )
    attempt_seconds: float = Field(
        3600.0,
        gt=0,
        description="Seconds that one attempt at a batch may take, waits for outages not counted. Beyond, it is a"
        " fault of the batch, and the worker's process ends: there is no other way to stop a training.",
    )
    heartbeat_seconds: float = Field(
        2.0, gt=0, description="Seconds between a worker's signs of life; also how often lost workers are looked for."
    )
    lost_after_seconds: float = Field(
        8.0,
        gt=0,
        description="Seconds without a sign of life after which a worker's job is given to another: four heartbeats,"
        " since a worker at the lowest priority may be late. Also when /healthz calls a worker ill.",
    )
    hung_after_seconds: float = Field(
        300.0,
        gt=0,
        description="Seconds without a sign of life after which a worker that still holds its connection counts as"
        " hung: its job is given to another all the same, and its own timer ends it. Long, for a starved one recovers.",
    )
    trainer_workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Worker processes that `python -m trainer` runs, each of 420 MB and one training at a time. In"
        " Kubernetes take replicas instead. Models are shared out; the batches of one model are trained in order.",
    )
    trainer_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port of /healthz and /metrics, of the first worker; each further one has the next. 0 for none.",
    )
    trainer_metrics_host: str = Field(
        "127.0.0.1",
        description="Address of that port; in a pod 0.0.0.0, so that Prometheus and the probes reach it. It tells"
        " counts, and neither models nor telemetry.",
    )
    niceness: int = Field(
        19, ge=0, le=19, description="Added to the process's nice value, so that training never delays scoring."
    )
    stop_grace_seconds: float = Field(
        5.0, ge=0, description="How long a training may go on after SIGTERM; beyond it the next worker begins it anew."
    )
    stop_with_parent: bool = Field(
        False,
        description="Stop when the process that started this one is gone. For supervisors; off, so that a worker that"
        " was started from a shell outlives it.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log level that is written."
    )
