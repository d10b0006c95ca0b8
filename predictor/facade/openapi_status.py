"""The documentation of what can be served, and of how the server is: models, health, metrics. PURE."""

from __future__ import annotations

from predictor import errors
from predictor.facade import openapi_examples as examples
from predictor.facade import openapi_refusals as refusals
from predictor.facade.openapi_parts import LIMITED, Json, Named, answer, content, in_path, operation, ref
from predictor.facade.openapi_schemas import MODEL_NAME_PATTERN
from predictor.problems import KINDS

MODELS = "Models"
HEALTH = "Health"

_METRICS = 'telltale_http_requests_total{method="POST",route="/score",status="200"} 42.0\n'


def models_paths() -> Json:
    """Return the paths that tell what can be served."""
    return {"/models": {"get": _models()}, "/models/{name}/versions": {"get": _versions()}}


def health_paths() -> Json:
    """Return the paths that tell how the server is."""
    return {
        "/health": {"get": _health()},
        "/health/ready": {"get": _ready()},
        "/healthz": {"get": _alive()},
        "/metrics": {"get": _metrics("metrics")},
        "/metrics/prometheus": {"get": _metrics("metricsPrometheus")},
    }


def _models() -> Json:
    named: Named = {"models": ("one model", examples.MODELS)}
    return operation(
        "List what can be served, what is loaded, and which version is default.",
        tag=MODELS,
        key="models",
        scope="models:read",
        responses={
            "200": answer("The models.", content(ref("Models"), named), headers=LIMITED),
            **refusals.problems(*refusals.STORE, scope="models:read"),
        },
    )


def _versions() -> Json:
    named: Named = {"versions": ("two versions", examples.VERSIONS)}
    return operation(
        "List a model's versions, newest first.",
        tag=MODELS,
        key="modelVersions",
        scope="models:read",
        parameters=(in_path("name", "The model's name.", "default", pattern=MODEL_NAME_PATTERN),),
        responses={
            "200": answer("The versions.", content(ref("Versions"), named), headers=LIMITED),
            **refusals.problems(KINDS[errors.UnknownModel], *refusals.STORE, scope="models:read", has_parameters=True),
        },
    )


def _health() -> Json:
    return operation(
        "Tell how the server, its models and its stores are.",
        tag=HEALTH,
        key="health",
        description="200 even when degraded: `problems` says what is amiss.",
        responses={
            "200": answer("The status.", content(ref("Health"), examples.HEALTH)),
            **refusals.problems(scope=None),
        },
    )


def _ready() -> Json:
    ready: Named = {"ready": ("every served model is loaded", examples.READY)}
    not_ready: Named = {"not_ready": ("a model is being loaded", examples.NOT_READY)}
    refused = refusals.problems(scope=None)
    waiting = answer("Not ready.", content(ref("Readiness"), not_ready), headers=("Retry-After",))
    waiting["content"] |= refused["503"]["content"]
    return operation(
        "Tell whether every served model is loaded and every port listens.",
        tag=HEALTH,
        key="ready",
        description="It waits neither for the trainer nor for MLflow.",
        responses={"200": answer("Ready.", content(ref("Readiness"), ready)), **refused, "503": waiting},
    )


def _alive() -> Json:
    named: Named = {"alive": ("it does", examples.ALIVE)}
    return operation(
        "Tell that the process answers.",
        tag=HEALTH,
        key="alive",
        responses={"200": answer("Alive.", content(ref("Liveness"), named)), **refusals.problems(scope=None)},
    )


def _metrics(key: str) -> Json:
    named: Named = {"metrics": ("one of them", _METRICS)}
    return operation(
        "Return all metrics in Prometheus' text format.",
        tag=HEALTH,
        key=key,
        responses={
            "200": answer("The metrics.", content({"type": "string"}, named, "text/plain")),
            **refusals.problems(scope=None),
        },
    )
