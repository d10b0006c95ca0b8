"""The name of a revision, which is the digest of all that it is. PURE."""

from __future__ import annotations

import hashlib
import json

from registry.api.served_model import PredictorSpec

# KServe makes Services named {revision}-predictor, and a name has 63 characters.
LONGEST_SERVED_MODEL_NAME = 40
_DIGITS = 10
_NOT_PART = {"min_replicas", "max_replicas", "target_cpu_utilization"}


def revision_name(served_model: str, model: str, version: str, digest: str, predictor: PredictorSpec) -> str:
    """Return the name of the one revision that is this version, served so; how many pods it has is no part of it."""
    settings = predictor.model_dump(mode="json", exclude=_NOT_PART)
    whole = json.dumps([model, version, digest, settings], sort_keys=True)
    return f"{served_model}-{hashlib.sha256(whole.encode()).hexdigest()[:_DIGITS]}"
