"""The predictor's settings in the benchmarks: everything off, and everything on. Only here, to be changed together.

Everything off has no token, limit, metrics, traces or access log, and still checks every record. Everything on has a
token, a limit that the load stays below, metrics and traces of one request in a hundred.
"""

from __future__ import annotations

import time

import jwt

from benchmarks.subject import MODEL, VERSION, Subject

_SECRET = "the benchmark's own secret, of more than 32 bytes"  # noqa: S105 - protects nothing
_SCOPES = "telemetry:score models:read telemetry:ingest"

EVERYTHING_OFF = {
    "TELLTALE_ACCESS_LOG": "off",
    "TELLTALE_METRICS": "false",
    "TELLTALE_LOG_LEVEL": "warning",
}
EVERYTHING_ON = {
    "TELLTALE_AUTH_SECRET": _SECRET,
    "TELLTALE_RATE_LIMIT": "1000000000",
    "TELLTALE_ACCESS_LOG": "off",
    "TELLTALE_METRICS": "true",
    "TELLTALE_TRACE_SAMPLE_RATIO": "0.01",
    "TELLTALE_LOG_LEVEL": "warning",
}


def environment(
    subject: Subject, settings: dict[str, str], *, port: int, grpc_port: int, traces_url: str = ""
) -> dict[str, str]:
    """Return the predictor's own variables: ``settings``, the pinned version, and where it listens.

    Args:
        subject: the model to serve.
        settings: :data:`EVERYTHING_OFF` or :data:`EVERYTHING_ON`.
        port: of HTTP on 127.0.0.1.
        grpc_port: of gRPC there.
        traces_url: where spans are sent by OTLP over HTTP; empty if none are made.

    """
    variables = {
        "TELLTALE_HOST": "127.0.0.1",
        "TELLTALE_PORT": str(port),
        "TELLTALE_GRPC_PORT": str(grpc_port),
        "TELLTALE_MODEL_STORE": subject.store.as_uri(),
        "TELLTALE_MODEL": MODEL,
        "TELLTALE_MODEL_VERSION": VERSION,
        "TELLTALE_ARTIFACT_DIGEST": subject.digest,
        # Else gRPC's connections are renewed every few seconds, which the load generator takes for broken ones.
        "TELLTALE_DRAIN_SECONDS": "0",
        **settings,
    }
    if traces_url:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = traces_url
    return variables


def authorization(settings: dict[str, str]) -> str | None:
    """Return the value of the `Authorization` header that ``settings`` ask for, or None."""
    secret = settings.get("TELLTALE_AUTH_SECRET")
    if secret is None:
        return None
    now = int(time.time())
    token = jwt.encode({"sub": "benchmark", "scope": _SCOPES, "iat": now, "exp": now + 86_400}, secret, "HS256")
    return f"Bearer {token}"
