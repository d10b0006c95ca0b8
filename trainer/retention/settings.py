"""The settings of retention, read once from the environment by a composition root."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from trainer.retention.plan import Policy
from trainer.window import Bounds


class RetentionSettings(BaseSettings):
    """How long things are kept, each with the reason for its default."""

    model_config = SettingsConfigDict(
        env_prefix="TELLTALE_", frozen=True, env_ignore_empty=True, extra="ignore", populate_by_name=True
    )

    gc_grace_hours: float = Field(
        24.0,
        ge=0,
        description="Hours within which garbage collection touches nothing: it may belong to a write that is under way."
        " Writes take seconds; a day also forgives a clock that is wrong.",
    )
    keep_batch_days: float = Field(
        90.0,
        ge=0,
        description="Days that trained batches are kept. The window of a training that can still come, and those of"
        " versions that an alias names, are kept whatever their age.",
    )
    keep_failed_batch_days: float = Field(
        365.0, ge=0, description="Days that batches are kept whose training failed, so that a person can retry them."
    )
    keep_versions: int = Field(
        10,
        ge=1,
        description="How many of each model's newest versions are kept whatever their age, to go back to. Those that"
        " the offline gate refused do not count.",
    )
    keep_version_days: float = Field(
        30.0,
        ge=0,
        description="Days that further versions are kept. One that an alias names, that is served, or that is marked"
        " with the tag telltale.keep=true in MLflow is kept for ever.",
    )
    keep_run_days: float = Field(
        365.0,
        ge=0,
        description="Days that MLflow runs are kept whose version is gone: their numbers are for comparing, and small.",
    )

    def policy(
        self, window: Bounds, *, keep: Mapping[tuple[str, str], str] | None = None, trusting: bool = False
    ) -> Policy:
        """Return the policy that these settings and the trainer's window make."""
        return Policy(
            grace=timedelta(hours=self.gc_grace_hours),
            batches=timedelta(days=self.keep_batch_days),
            failed_batches=timedelta(days=self.keep_failed_batch_days),
            newest_versions=self.keep_versions,
            versions=timedelta(days=self.keep_version_days),
            runs=timedelta(days=self.keep_run_days),
            window=window,
            keep=dict(keep or {}),
            trusting=trusting,
        )
