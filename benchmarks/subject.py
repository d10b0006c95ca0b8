"""What everybody serves in a benchmark: one model, one record, one batch of rows, and the bodies that ask for them.

The same forest is written twice: as a version in a model store, for Telltale, and as scikit-learn's object by joblib,
for the peers. Everything comes from one seed, so two runs measure the same thing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from benchmarks.load import http_request
from contract.digests import digest_of
from contract.forest_file import encode_forest
from contract.manifest import Manifest, encode_probe
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from trainer.export import export
from trainer.fit import Hyperparameters, fit
from trainer.probe import probe_rows

MODEL, VERSION = "default", "20240115100000"
FEATURES = 8
BATCH_ROWS = 100_000
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_TRAINING_ROWS = 20_000
_INPUT = "features"


@dataclass(frozen=True)
class Subject:
    """The model on disk, and what it is asked.

    Args:
        store: folder of the model store, which holds :data:`VERSION` of :data:`MODEL`.
        digest: of that version's forest file.
        joblib_file: the same forest as a scikit-learn object.
        record: the one record's features, shape ``(FEATURES,)``.
        decision: scikit-learn's decision function of it.
        batch: rows of the large requests, shape ``(BATCH_ROWS, FEATURES)``.

    """

    store: Path
    digest: str
    joblib_file: Path
    record: NDArray[np.float64]
    decision: float
    batch: NDArray[np.float64]


def make_subject(folder: Path) -> Subject:
    """Fit the forest and write it into ``folder``, which is empty."""
    X = np.random.default_rng(0).normal(size=(_TRAINING_ROWS, FEATURES)).round(6)
    names = tuple(f"f{position}" for position in range(FEATURES))
    trained = fit(X, Hyperparameters()).estimator
    training_digest = digest_of(X.tobytes())
    forest = export(trained, names, training_digest=training_digest)
    models = ModelStore(LocalObjectStore(folder / "store"))
    stored = models.put_forest(MODEL, VERSION, encode_forest(forest))
    probe = probe_rows(forest, X, seed=0)
    manifest = Manifest(
        model=MODEL,
        version=VERSION,
        forest=stored,
        probe=models.put_probe(MODEL, VERSION, encode_probe(probe, trained.decision_function(probe))),
        feature_names=names,
        batch_id="benchmark",
        training_digest=training_digest,
        training_records=len(X),
        mlflow_run_id="benchmark",
        mlflow_version="1",
        created_at=datetime(2024, 1, 15, 10, tzinfo=UTC),
    )
    models.publish(manifest)
    joblib_file = folder / "model.joblib"
    joblib.dump(trained, joblib_file)
    batch = np.random.default_rng(1).normal(size=(BATCH_ROWS, FEATURES)).round(6)
    decision = float(trained.decision_function(X[:1])[0])
    return Subject(folder / "store", stored.digest, joblib_file, X[0], decision, batch)


def score_body(subject: Subject) -> bytes:
    """Return the body of `POST /score` for the record."""
    record = {"vehicle_id": "VH-0001", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": subject.record.tolist()}
    return json.dumps(record).encode()


def score_answer(subject: Subject) -> bytes:
    """Return an answer of `POST /score` as the predictor gives it: the floor answers as many bytes."""
    decision = subject.decision
    answer = {"vehicle_id": "VH-0001", "anomaly_score": decision, "is_anomaly": decision < 0, "model_version": VERSION}
    return json.dumps(answer, separators=(",", ":")).encode()


def v2_body(subject: Subject, rows: NDArray[np.float64] | None = None) -> bytes:
    """Return a V2 request in JSON for some rows, by default the record alone."""
    X = subject.record[None, :] if rows is None else rows
    tensor = {"name": _INPUT, "shape": list(X.shape), "datatype": "FP64", "data": X.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def v2_binary_request(path: str, rows: NDArray[np.float64]) -> bytes:
    """Return a whole V2 request with the rows as a binary tensor, which asks for a binary answer."""
    content = np.ascontiguousarray(rows, "<f8").tobytes()
    size = {"binary_data_size": len(content)}
    tensor = {"name": _INPUT, "shape": list(rows.shape), "datatype": "FP64", "parameters": size}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return http_request(path, head + content, headers)


def v2_path(model: str = MODEL) -> str:
    """Return the path of V2 inference."""
    return f"/v2/models/{model}/infer"


def grpc_message(subject: Subject, model: str = MODEL) -> bytes:
    """Return the encoded `ModelInferRequest` for the record."""
    # Imported late: KServe's package takes seconds to import.
    protocol: Any = import_module("kserve.protocol.grpc.grpc_predict_v2_pb2")
    contents = protocol.InferTensorContents(fp64_contents=subject.record.tolist())
    shape = [1, FEATURES]
    tensor = protocol.ModelInferRequest.InferInputTensor(name=_INPUT, datatype="FP64", shape=shape, contents=contents)
    message: bytes = protocol.ModelInferRequest(model_name=model, inputs=[tensor]).SerializeToString()
    return message
