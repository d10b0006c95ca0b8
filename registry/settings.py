"""The controller's settings, read once from the environment by its composition root."""

from __future__ import annotations

import secrets
import socket
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

# What the lease leaves for a request that was under way when its holder stopped writing, beyond the request's own time.
_FENCE_SLACK_SECONDS = 1.0


def _own_name() -> str:
    """Return a name that no other process has, be it on the same host."""
    return f"{socket.gethostname()}-{secrets.token_hex(3)}"


class RegistrySettings(BaseSettings):
    """What can be set, each with its meaning, unit and the reason for its default."""

    model_config = SettingsConfigDict(env_prefix="TELLTALE_", frozen=True, extra="ignore", populate_by_name=True)

    mlflow_tracking_uri: str = Field(
        "http://127.0.0.1:5000", validation_alias="MLFLOW_TRACKING_URI", description="MLflow's tracking server."
    )
    prometheus_url: str | None = Field(
        None, description="Prometheus, or what speaks its query API; without it online gates have no source."
    )
    prometheus_token: SecretStr | None = Field(None, description="Bearer token for Prometheus.")
    prometheus_timeout_seconds: float = Field(
        2.0, gt=0, le=60, description="How long a query may take; an abort may have to wait for one."
    )
    namespaces: list[str] = Field(
        default_factory=list, description="Namespaces to look at, as a JSON list; empty for the whole cluster."
    )
    workers: int = Field(4, ge=1, le=64, description="How many ServedModels are looked at at once.")
    request_timeout_seconds: float = Field(
        5.0, gt=0, description="How long a request to the API server may take; less than what fences the lease."
    )
    mlflow_poll_seconds: float = Field(
        5.0, gt=0, description="How often MLflow is asked which versions its aliases name; moved ones are followed."
    )
    mlflow_patience_seconds: float = Field(
        2.0, gt=0, description="How long a ServedModel that is new waits for MLflow's first answer."
    )
    relist_seconds: float = Field(
        60.0, gt=0, description="How often everything is listed, in case a watch froze or lost an event."
    )
    require_route_acceptance: bool = Field(
        True, description="Whether a gateway must say that it took a route; false for gateways that say nothing."
    )
    leader_election: bool = Field(True, description="Whether there may be other replicas; one of them writes.")
    lease_namespace: str = Field("default", validation_alias="POD_NAMESPACE", description="Where the Lease is.")
    lease_name: str = Field("telltale-registry", description="The Lease's name.")
    lease_seconds: float = Field(
        15.0,
        gt=0,
        description="How long a replica that fell silent is waited for; at least the time of a request, one second, and"
        " two renewals of the lease.",
    )
    lease_renew_seconds: float = Field(2.0, gt=0, description="How often the lease is renewed, or looked at.")
    identity: str = Field(
        default_factory=_own_name,
        validation_alias="POD_NAME",
        description="This replica's own name, which no other has; without it the host's, and six random digits.",
    )
    health_host: str = Field(
        "127.0.0.1", description="Where /healthz, /readyz and /metrics are served; 0.0.0.0 in a pod."
    )
    health_port: int = Field(9090, ge=0, le=65535, description="Their port; 0 takes a free one.")
    stuck_after_seconds: float = Field(
        180.0, gt=0, description="Without a round of its loop for so long, the controller asks to be started anew."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")

    @property
    def fence_margin_seconds(self) -> float:
        """For how long, at the least, nobody writes when the lease changes hands: longer than any request."""
        return self.request_timeout_seconds + _FENCE_SLACK_SECONDS

    @model_validator(mode="after")
    def _lease_holds_a_request(self) -> Self:
        least = self.fence_margin_seconds + 2 * self.lease_renew_seconds
        if self.leader_election and self.lease_seconds < least:
            raise ValueError(
                f"TELLTALE_LEASE_SECONDS must be at least {least:g} (TELLTALE_REQUEST_TIMEOUT_SECONDS +"
                f" {_FENCE_SLACK_SECONDS:g} + 2 * TELLTALE_LEASE_RENEW_SECONDS), and is {self.lease_seconds:g}:"
                " raise it, or lower one of the others"
            )
        return self
