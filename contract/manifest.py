"""The manifest of a model version in the model store.

A version's files are written first and its manifest last, once, so a version is visible exactly when it is complete.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from contract.digests import check_digest
from contract.errors import CorruptArtifact

FORMAT_VERSION = 1


class StoredFile(msgspec.Struct, frozen=True):
    """One file of a version: its key in the object store, digest and size in bytes."""

    key: str
    digest: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """What a version consists of and where it came from.

    ``forest.digest`` is the version's artefact digest. ``probe`` holds rows with the scores that scikit-learn gave
    them, so that any server can prove that it scores as the trainer did.
    """

    model: str
    version: str
    forest: StoredFile
    probe: StoredFile
    feature_names: tuple[str, ...]
    batch_id: str
    training_digest: str
    training_records: int
    mlflow_run_id: str
    mlflow_version: str
    created_at: datetime
    format_version: int = FORMAT_VERSION


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in ``data``; CorruptArtifact if it is none or of a newer format."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as refusal:
        raise CorruptArtifact(f"the manifest is not readable: {refusal}") from refusal
    if manifest.format_version != FORMAT_VERSION:
        raise CorruptArtifact(f"the manifest has format {manifest.format_version}; this program reads {FORMAT_VERSION}")
    return manifest


def encode_probe(X: NDArray[np.float64], decision: NDArray[np.float64]) -> bytes:
    """Return probe rows, float64 ``(n, n_features)``, and scikit-learn's decision function of them, ``(n,)``."""
    return save({"X": np.ascontiguousarray(X), "decision": np.ascontiguousarray(decision)})


def decode_probe(data: bytes, *, digest: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probe rows and their expected decision function; CorruptArtifact if damaged."""
    check_digest(data, digest, "the probe file")
    try:
        arrays = load(data)
        return arrays["X"], arrays["decision"]
    except (SafetensorError, KeyError) as refusal:
        raise CorruptArtifact(f"the probe file is not readable: {refusal!r}") from refusal
