"""What is traced and where spans go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TracingConfig:
    """What is traced, and where spans go.

    Args:
        endpoint: URL of the collector's traces, ``http://collector:4318/v1/traces``. None leaves it to the standard
            variables ``OTEL_EXPORTER_OTLP_*``, which the exporter reads, like headers, certificates and time-outs.
        sample_ratio: share of the requests without a caller's trace.
        service_name: ``OTEL_SERVICE_NAME`` wins over it.
        service_version: our release.
        attributes: more about this process; ``OTEL_RESOURCE_ATTRIBUTES`` wins over them.
        shutdown_seconds: how long the last spans may take to be sent.

    """

    endpoint: str | None = None
    sample_ratio: float = 0.01
    service_name: str = "telltale-predictor"
    service_version: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    shutdown_seconds: float = 2.0
