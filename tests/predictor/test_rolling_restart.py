"""A rolling update as Kubernetes makes it, under load: the old process drains while the new one serves, nobody notices.

Each process has its own ports behind a balancer, as a pod has its own address behind a Service. SIGTERM and the end of
new connections are not simultaneous: kube-proxy learns later, and until then the old process still gets new ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.server import free_port
from benchmarks.subject import GRPC_METHOD, v2_binary_request, v2_path
from fuzz.http_exchange import http_request
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.balancer import Balancer, Endpoint, balanced
from tests.predictor.callers import Caller, GrpcClient, HttpClient, calling
from tests.predictor.forests import publish, stump_forest
from tests.predictor.records import record

pytestmark = pytest.mark.integration

MODEL, VERSION = "default", "20240115100000"
WIDTH = 8
RESTARTS = 5
DRAIN_SECONDS = 2.0
# From the moment at which a pod is told to end to the last new connection that it gets.
DELAY_SECONDS = 0.5
JSON = [("Content-Type", "application/json")]
SCORE = json.dumps(record(feature_vector=[0.5] * WIDTH)).encode()
V2 = json.dumps(
    {"inputs": [{"name": "features", "shape": [1, WIDTH], "datatype": "FP64", "data": [0.5] * WIDTH}]}
).encode()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store with one version."""
    publish(
        ModelStore(LocalObjectStore(tmp_path / "store")),
        MODEL,
        VERSION,
        stump_forest(tuple(f"f{place}" for place in range(WIDTH))),
    )
    return tmp_path / "store"


@dataclass(frozen=True)
class Pod:
    """One predictor and where it listens."""

    process: subprocess.Popen[bytes]
    endpoint: Endpoint
    log: Path

    def is_ready(self) -> bool:
        """Tell whether its readiness probe succeeds."""
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            return httpx.get(f"http://127.0.0.1:{self.endpoint.ports[0]}/health/ready").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def pod(store: Path, log: Path, **changes: str) -> Iterator[Pod]:
    """Run a predictor on ports of its own; it is gone when the block ends."""
    port, grpc_port = free_port(), free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TELLTALE_", "OTEL_"))}
    env |= {
        "TELLTALE_PORT": str(port),
        "TELLTALE_GRPC_PORT": str(grpc_port),
        "TELLTALE_MODEL_STORE": store.as_uri(),
        "TELLTALE_MODEL": MODEL,
        "TELLTALE_MODEL_VERSION": VERSION,
        "TELLTALE_DRAIN_SECONDS": str(DRAIN_SECONDS),
    }
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-m", "predictor"], env=env | changes, stderr=output)
    try:
        yield Pod(process, Endpoint((port, grpc_port)), log)
    finally:
        process.kill()
        process.wait()


def grpc_message() -> bytes:
    """One record as ModelInfer takes it."""
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

    tensor = pb.ModelInferRequest.InferInputTensor(name="features", datatype="FP64", shape=[1, WIDTH])
    tensor.contents.fp64_contents.extend([0.5] * WIDTH)
    message: bytes = pb.ModelInferRequest(model_name=MODEL, inputs=[tensor]).SerializeToString()
    return message


def callers(ports: Sequence[int]) -> list[Caller]:
    """Clients of every path, those in haste as well as those with large or dawdling requests."""
    port, grpc_port = ports
    score = http_request("POST", "/score", JSON, SCORE)
    body_at = score.index(b"\r\n\r\n") + 4
    requests: dict[str, tuple[list[bytes], str]] = {
        "/score": ([score], "POST"),
        "/score too": ([score], "POST"),
        "/score in two pieces": ([score[:body_at], score[body_at:]], "POST"),
        "/score, a new connection each": (
            [http_request("POST", "/score", [*JSON, ("Connection", "close")], SCORE)],
            "POST",
        ),
        "an array": ([http_request("POST", "/score", JSON, b"[" + b",".join([SCORE] * 20) + b"]")], "POST"),
        "V2": ([http_request("POST", v2_path(MODEL), JSON, V2)], "POST"),
        "V2, 20,000 rows": ([v2_binary_request(v2_path(MODEL), np.full((20_000, WIDTH), 0.5))], "POST"),
        "/models": ([http_request("GET", "/models", [], b"")], "GET"),
    }
    by_http = [
        Caller(name, client.call, client.close)
        for name, (pieces, method) in requests.items()
        for client in [HttpClient(port, pieces, method)]
    ]
    by_grpc = [
        Caller(f"gRPC {number}", client.call, client.close)
        for number in range(3)
        for client in [GrpcClient(grpc_port, GRPC_METHOD, grpc_message())]
    ]
    return by_http + by_grpc


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not come true within {seconds:g} s"
        time.sleep(0.01)


def until_all_are_answered(clients: Sequence[Caller]) -> None:
    """Wait until each client was answered once more."""
    before = {client.name: client.answers for client in clients}
    until(lambda: all(client.answers > before[client.name] for client in clients))


def end(old: Pod, balancer: Balancer) -> None:
    """Tell a pod to end, and the balancer later; return when the pod is gone."""
    old.process.send_signal(signal.SIGTERM)
    later = threading.Timer(DELAY_SECONDS, balancer.remove, (old.endpoint,))
    later.start()
    assert old.process.wait(20) == 0
    later.join()


def test_no_request_fails_while_processes_take_turns(store: Path, tmp_path: Path) -> None:
    """Each restart: a new process becomes ready and gets traffic, then the old one gets SIGTERM. Five in a row."""
    with balanced(2) as balancer, ExitStack() as pods:

        def start(number: int) -> Pod:
            started = pods.enter_context(pod(store, tmp_path / f"pod-{number}.log"))
            until(started.is_ready)
            balancer.add(started.endpoint)
            return started

        old, clients = start(0), callers(balancer.ports)
        with calling(clients):
            for number in range(1, RESTARTS + 1):
                new = start(number)
                end(old, balancer)
                until_all_are_answered(clients)
                old = new
    assert {client.name: client.failures for client in clients if client.failures} == {}


def test_ctrl_c_waits_for_nobody_who_is_not_connected(store: Path, tmp_path: Path) -> None:
    """A person at a terminal has no load balancer that must hear of it first."""
    with pod(store, tmp_path / "pod.log", TELLTALE_DRAIN_SECONDS="60") as alone:
        until(alone.is_ready)
        alone.process.send_signal(signal.SIGINT)
        assert alone.process.wait(20) == 0


def test_sigterm_leaves_time_for_new_connections_although_there_is_none(store: Path, tmp_path: Path) -> None:
    """Who asks on a new connection each time is answered until the time to drain is over."""
    with pod(store, tmp_path / "pod.log") as alone:
        until(alone.is_ready)
        told = time.monotonic()
        alone.process.send_signal(signal.SIGTERM)
        until(lambda: not alone.is_ready())
        while time.monotonic() < told + 0.8 * DRAIN_SECONDS:
            answer = httpx.post(f"http://127.0.0.1:{alone.endpoint.ports[0]}/score", json=json.loads(SCORE))
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert alone.process.wait(20) == 0
