"""Proves in the build of the predictor's image that what was left out of it is not missed.

Run by the environment's Python with the list of packages that were left out, and the lock. Nothing but KServe's SDK may
ask for one of them; every module of ours must load; nothing that belongs to training may; and a predictor must start,
answer by each protocol and end. It tests no behaviour beyond that: tests/images does, on the image itself.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import grpc
import numpy as np
from packaging.requirements import Requirement

from contract.forest_file import Forest, encode_forest
from contract.manifest import Manifest, encode_probe
from predictor.v2.kserve_sdk import prepare
from scoring.kernel import kernel_name
from scoring.reference import decision_function
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore

_FOREIGN = ("alembic", "joblib", "matplotlib", "mlflow", "pandas", "registry", "sklearn", "standalone", "trainer")
# Programs, and what changes the database's schema, which the predictor never does.
_NOT_TO_IMPORT = r"\.__main__$|^store\.migrat"
# What boto3 speaks to: S3, and those by whom it gets credentials. It reads a description of each.
_AWS = ("s3", "sts", "sso", "sso-oidc", "signin")
_VERSION = "20240115100000"
_START_SECONDS = 60


def check(left_out: set[str], locked: set[str]) -> None:
    """Raise SystemExit if the environment is not what it should be."""
    there = {_name(found.metadata["Name"]): found.requires or [] for found in distributions()}
    absent = locked - set(there)
    _expect(left_out == absent, f"listed, or absent, but not both: {sorted(left_out ^ absent)}")
    for name, requirements in there.items():
        missing = {_name(needed.name) for needed in map(Requirement, requirements) if _applies(needed)} - set(there)
        _expect((missing <= left_out and name == "kserve") or not missing, f"{name} needs {sorted(missing)}")
    foreign = [name for name in _FOREIGN if find_spec(name) is not None]
    _expect(not foreign, f"nothing of {foreign} belongs here")
    for module in _modules():
        importlib.import_module(module)
    for service in _AWS:
        boto3.session.Session(region_name="us-east-1").client(service)
    _expect(kernel_name() != "numpy", "the scoring kernel was not compiled")
    with tempfile.TemporaryDirectory() as folder, _predictor(Path(folder)) as (http, rpc):
        _score(http, rpc)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _modules() -> Iterator[str]:
    prepare()
    for package in ("contract", "telemetry", "scoring", "store", "predictor"):
        found = pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}.")
        yield from (module.name for module in found if not re.search(_NOT_TO_IMPORT, module.name))


@contextmanager
def _predictor(folder: Path) -> Iterator[tuple[str, str]]:
    """Run a predictor on a model that calls rows above 1 anomalous; yields the addresses of HTTP and gRPC."""
    _publish(ModelStore(LocalObjectStore(folder)))
    http, rpc = _free_ports(2)
    settings = {
        "HOST": "127.0.0.1", "PORT": str(http), "GRPC_PORT": str(rpc), "MODEL_STORE": folder.as_uri(),
        "MODEL": "check", "MODEL_VERSION": _VERSION, "DRAIN_SECONDS": "0",
    }  # fmt: skip
    environment = os.environ | {f"TELLTALE_{name}": value for name, value in settings.items()}
    process = subprocess.Popen([sys.executable, "-P", "-m", "predictor"], env=environment)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{http}/health/ready")
        yield f"http://127.0.0.1:{http}", f"127.0.0.1:{rpc}"
        process.send_signal(signal.SIGTERM)
        _expect(process.wait(10) == 0, f"after SIGTERM it ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()


def _publish(models: ModelStore) -> None:
    forest = Forest(
        threshold=np.array([1, 0, 0], np.float32),
        feature=np.array([0, -1, -1], np.int32),
        child=np.array([1, 0, 0], np.int32),
        leaf_value=np.array([0, 8, 1], np.float64),
        root=np.array([0], np.int32),
        feature_names=("a",),
        offset=-0.6,
        normalizer=4.0,
        training_digest=f"sha256:{'0' * 64}",
    )
    X = np.zeros((1, 1))
    manifest = Manifest(
        model="check",
        version=_VERSION,
        forest=models.put_forest("check", _VERSION, encode_forest(forest)),
        probe=models.put_probe("check", _VERSION, encode_probe(X, decision_function(forest, X))),
        feature_names=("a",),
        batch_id="check",
        training_digest=forest.training_digest,
        training_records=1,
        mlflow_run_id="check",
        mlflow_version="1",
        created_at=datetime(2024, 1, 15, tzinfo=UTC),
    )
    models.publish(manifest)


def _score(http: str, rpc: str) -> None:
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb  # noqa: PLC0415 - only once prepare() has run
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub  # noqa: PLC0415

    record = {"vehicle_id": "v", "timestamp": "2024-01-15T10:00:00Z", "feature_vector": [2.0]}
    answer = _post(f"{http}/score", record)
    _expect(answer["is_anomaly"] is True, f"/score answered {answer}")
    tensor = {"name": "rows", "shape": [1, 1], "datatype": "FP64", "data": [2.0]}
    answer = _post(f"{http}/v2/models/check/infer", {"inputs": [tensor]})
    _expect([output["data"] for output in answer["outputs"]][1] == [True], f"V2 answered {answer}")
    request = pb.ModelInferRequest(model_name="check")
    request.inputs.add(name="rows", shape=[1, 1], datatype="FP64").contents.fp64_contents.append(2.0)
    with grpc.insecure_channel(rpc) as channel:
        reply = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    _expect(reply.model_version == _VERSION, f"gRPC answered {reply}")


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - it is http
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 - the same
        answer: dict[str, Any] = json.load(response)
    return answer


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while not _answers(url):
        _expect(process.poll() is None, f"the predictor ended with {process.returncode}")
        _expect(time.monotonic() < until, "the predictor was not ready in time")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - it is http
            return True
    except OSError:
        return False


def _free_ports(number: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listening.getsockname()[1] for listening in taken]
    for listening in taken:
        listening.close()
    return ports


def _name(written: str) -> str:
    return re.sub(r"[-_.]+", "-", written).lower()


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise SystemExit(f"check_predictor.py: {complaint}")


def _names(file: str) -> set[str]:
    """Return the packages that a file of requirements names, but for those that other platforms need."""
    lines = (line.partition("#")[0].rstrip("\\ ") for line in Path(file).read_text().splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith(" ")]
    return {_name(requirement.name) for requirement in found if _applies(requirement)}


def main(arguments: list[str]) -> None:
    """Check the environment that this Python is of."""
    left_out, lock = arguments
    check(_names(left_out), _names(lock))


if __name__ == "__main__":
    main(sys.argv[1:])
