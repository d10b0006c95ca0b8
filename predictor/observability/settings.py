"""The settings of metrics, traces, logs and the prediction log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class ObservabilitySettings(BaseSettings):
    """What can be set, each with its meaning, unit and the reason for its default."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written, the access log apart."
    )
    access_log: Literal["all", "errors", "off"] = Field(
        "all", description="Which requests get a line in the access log; `errors` are those answered 4xx or 5xx."
    )
    metrics: bool = Field(
        True, description="Count requests and scores for GET /metrics. Off saves about two microseconds a request."
    )
    trace_endpoint: str | None = Field(
        None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Where traces are sent by OTLP over HTTP, such as http://collector:4318. Empty makes none.",
    )
    trace_sample_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of requests that are traced where the client does not say; one that says is followed.",
    )
    prediction_log: bool = Field(
        False, description="Write every scored record to PostgreSQL. Off: a busy fleet fills a disk within days."
    )
    prediction_log_days: int = Field(
        30, ge=1, description="Days that scored records are kept; older ones are dropped a day at a time."
    )
    prediction_log_queue: int = Field(
        100_000,
        ge=1,
        description="Most records that wait to be written; more are dropped and counted, since answers never wait.",
    )
