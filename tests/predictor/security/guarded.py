"""A whole predictor with its guards up, and every way to have it score: what holds for one must hold for all."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import jwt
import numpy as np
import pyarrow as pa

from predictor.v2 import kserve_sdk
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest
from tests.predictor.records import record
from tests.predictor.running import Running, running
from tests.predictor.security.issuers import SECRET

kserve_sdk.prepare()

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb  # noqa: E402 - after it is made ready
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub  # noqa: E402 - the same

VERSION = "20240115100000"
FEATURES = ("speed", "rpm", "temperature")
ROW = [0.5, 0.3, 0.8]
RECORD = record(feature_vector=ROW)
ALL_SCOPES = "telemetry:ingest telemetry:score models:read models:write"
_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
}


@dataclass(frozen=True)
class Outcome:
    """What a client was told, over whatever protocol; gRPC's codes as the statuses that they stand for."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Guarded:
    """A running predictor, and a stub for its gRPC side."""

    running: Running
    stub: Any
    channel: grpc.Channel

    def http(self, method: str, path: str, body: bytes = b"", **headers: str) -> Outcome:
        """Send a request; underscores in header names mean dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.running.client.request(method, path, content=body, headers=named)
        return Outcome(answer.status_code, answer.headers, answer.text)

    def grpc(self, method: str, request: Any, *, authorization: str | None = None) -> Outcome:
        """Make a call."""
        metadata = [("authorization", authorization)] if authorization is not None else []
        try:
            _, call = getattr(self.stub, method).with_call(request, metadata=metadata, timeout=30)
        except grpc.RpcError as refusal:
            error: Any = refusal
            return Outcome(_STATUSES[error.code()], dict(error.trailing_metadata() or ()), error.details())
        return Outcome(200, dict(call.trailing_metadata()), "")

    def metric(self, name: str) -> float:
        """Return a metric's value; 0 if it is not there."""
        lines = self.running.client.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


@contextmanager
def guarded(folder: Path, *, database_url: str | None = None, **changes: Any) -> Iterator[Guarded]:
    """Run a predictor that wants HS256 tokens, pinned to one version, until it is ready for all protocols."""
    publish(ModelStore(LocalObjectStore(folder)), "default", VERSION, stump_forest(FEATURES))
    values = {"auth_secret": SECRET.decode(), "model": "default", "model_version": VERSION} | changes
    with running(database_url, folder, **values) as server:
        _until_ready(server)
        with grpc.insecure_channel(
            f"127.0.0.1:{server.predictor.grpc_port}", options=[("grpc.max_send_message_length", -1)]
        ) as channel:
            yield Guarded(server, GRPCInferenceServiceStub(channel), channel)


def _until_ready(server: Running) -> None:
    deadline = time.monotonic() + 20
    while server.client.get("/health/ready").status_code != 200:
        assert time.monotonic() < deadline, server.client.get("/health/ready").text
        time.sleep(0.02)


def bearer(scope: str = ALL_SCOPES, *, subject: str = "fleet-7", secret: bytes = SECRET, **claims: object) -> str:
    """Return the value of an Authorization header that is good for a minute."""
    whole = {"sub": subject, "scope": scope, "exp": int(time.time()) + 60} | claims
    return f"Bearer {jwt.encode(whole, secret, 'HS256')}"


def arrow(rows: int = 1) -> bytes:
    """Return an Arrow stream of so many records."""
    stamps = pa.array([1_705_312_800_000_000] * rows, pa.timestamp("us", tz="UTC"))
    columns = {"vehicle_id": [f"VH-{i}" for i in range(rows)], "timestamp": stamps, "feature_vector": [ROW] * rows}
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def v2_json(rows: int = 1) -> bytes:
    """Return a V2 request of so many rows, in JSON alone."""
    tensor = {"name": "features", "datatype": "FP64", "shape": [rows, 3], "data": ROW * rows}
    return json.dumps({"inputs": [tensor]}).encode()


def v2_binary(rows: int = 1) -> tuple[bytes, str]:
    """Return a V2 request of so many rows as a binary tensor, and the length of its JSON."""
    content = np.array(ROW * rows).tobytes()
    tensor = {
        "name": "features", "datatype": "FP64", "shape": [rows, 3], "parameters": {"binary_data_size": len(content)},
    }  # fmt: skip
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + content, str(len(head))


def v2_message(rows: int = 1) -> Any:
    """Return the message of ``ModelInfer`` with so many rows."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP64", shape=[rows, 3])
    tensor.contents.fp64_contents.extend(ROW * rows)
    return pb.ModelInferRequest(model_name="default", inputs=[tensor])


# Called with the server, the value of Authorization or None, and how many records to send.
Score = Callable[..., Outcome]
Ask = Callable[[Guarded, str | None], Outcome]
_JSON = "application/json"


def _authorized(authorization: str | None, **headers: str) -> dict[str, str]:
    return headers if authorization is None else headers | {"authorization": authorization}


def _by_http(path: str, kind: str, body: Callable[[int], bytes]) -> Score:
    def score(server: Guarded, authorization: str | None, rows: int = 1) -> Outcome:
        return server.http("POST", path, body(rows), **_authorized(authorization, content_type=kind))

    return score


def _by_binary(server: Guarded, authorization: str | None, rows: int = 1) -> Outcome:
    body, length = v2_binary(rows)
    headers = _authorized(authorization, inference_header_content_length=length)
    return server.http("POST", "/v2/models/default/infer", body, **headers)


def _by_grpc(server: Guarded, authorization: str | None, rows: int = 1) -> Outcome:
    return server.grpc("ModelInfer", v2_message(rows), authorization=authorization)


def _json(rows: int) -> bytes:
    return json.dumps([RECORD] * rows).encode()


def _lines(rows: int) -> bytes:
    return b"\n".join([json.dumps(RECORD).encode()] * rows)


def _instances(rows: int) -> bytes:
    return json.dumps({"instances": [ROW] * rows}).encode()


SCORE_BY: dict[str, Score] = {
    "json": _by_http("/score", _JSON, lambda rows: json.dumps(RECORD).encode() if rows == 1 else _json(rows)),
    "json array": _by_http("/score", _JSON, _json),
    "ndjson": _by_http("/score", "application/x-ndjson", _lines),
    "arrow": _by_http("/score", "application/vnd.apache.arrow.stream", arrow),
    "v2 json": _by_http("/v2/models/default/infer", _JSON, v2_json),
    "v2 json of a version": _by_http(f"/v2/models/default/versions/{VERSION}/infer", _JSON, v2_json),
    "v2 binary": _by_binary,
    "v2 grpc": _by_grpc,
    "v1": _by_http("/v1/models/default:predict", _JSON, _instances),
}


def _ask_http(method: str, path: str) -> Ask:
    def ask(server: Guarded, authorization: str | None) -> Outcome:
        body = b'{"records": []}' if method == "POST" else b""
        return server.http(method, path, body, **_authorized(authorization, content_type=_JSON))

    return ask


def _ask_grpc(method: str, request: Any) -> Ask:
    return lambda server, authorization: server.grpc(method, request, authorization=authorization)


# What else needs a token: the scope that it needs, and how to ask.
OTHERS: dict[str, tuple[str, Ask]] = {
    "POST /ingest": ("telemetry:ingest", _ask_http("POST", "/ingest")),
    "GET /ingest/{job}": ("telemetry:ingest", _ask_http("GET", "/ingest/some-job")),
    **{
        f"{method} {path}": ("models:read", _ask_http(method, path))
        for method, path in (
            ("GET", "/models"),
            ("GET", "/models/default/versions"),
            ("GET", "/v2"),
            ("GET", "/v2/models"),
            ("GET", "/v2/models/default"),
            ("GET", "/v2/models/default/ready"),
            ("GET", f"/v2/models/default/versions/{VERSION}"),
            ("POST", "/v2/repository/index"),
            ("POST", "/v2/repository/models/default/load"),
            ("GET", "/v1/models"),
            ("GET", "/v1/models/default"),
        )
    },
    "ServerMetadata": ("models:read", _ask_grpc("ServerMetadata", pb.ServerMetadataRequest())),
    "ModelMetadata": ("models:read", _ask_grpc("ModelMetadata", pb.ModelMetadataRequest(name="default"))),
    "ModelReady": ("models:read", _ask_grpc("ModelReady", pb.ModelReadyRequest(name="default"))),
}
OPEN_PATHS = (
    "/health", "/health/ready", "/healthz", "/metrics", "/metrics/prometheus", "/docs", "/openapi.json",
    "/v2/health/live", "/v2/health/ready",
)  # fmt: skip
