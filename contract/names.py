"""Names that several components must agree on: model names, object keys, MLflow tags and aliases."""

from __future__ import annotations

import re

DEFAULT_MODEL = "default"
MODEL_NAME_LENGTH = 63
_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

MODEL_NAME_RULE = (
    "a model's name is 1 to 63 of a-z, 0-9, '-' and '_', starting with a letter or digit "
    "(it becomes a folder, an object key and a registered model)"
)

# MLflow: one registered model and one experiment for each model, under the model's own name.
CANDIDATE_ALIAS = "candidate"
CHAMPION_ALIAS = "champion"

TAG_VERSION = "telltale.version"
TAG_BATCH = "telltale.batch_id"
TAG_DIGEST = "telltale.artifact_digest"
TAG_TRAINING_DIGEST = "telltale.training_digest"
TAG_RECORDS = "telltale.training_records"
# The span that trained a version, as W3C's traceparent has it; only where trainings are traced.
TAG_TRACEPARENT = "telltale.traceparent"
TAG_GATE = "telltale.gate"
TAG_GATE_REASON = "telltale.gate_reason"
# Set by people on a version or a run: "true" keeps it from garbage collection.
TAG_KEEP = "telltale.keep"
# Set on the run of a version that was removed from the model store: since when.
TAG_COLLECTED = "telltale.collected"


def is_model_name(text: str) -> bool:
    """Tell whether ``text`` can name a model."""
    return bool(_MODEL_NAME.fullmatch(text))


def model_prefix(model: str) -> str:
    """Return the key prefix of a model in the model store; it ends with a slash, so `v1` never matches `v10`."""
    return f"models/{model}/"


def version_prefix(model: str, version: str) -> str:
    """Return the key prefix of one version in the model store."""
    return f"{model_prefix(model)}{version}/"


def manifest_key(model: str, version: str) -> str:
    """Return the key of a version's manifest, whose existence makes the version visible."""
    return f"{version_prefix(model, version)}manifest.json"


def batch_key(model: str, batch_id: str) -> str:
    """Return the key of a telemetry batch."""
    return f"batches/{model}/{batch_id}.parquet"
