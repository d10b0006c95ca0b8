"""A steady load on a served model, over every protocol, that remembers each answer: when, and of which version."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from predictor.v2.kserve_sdk import prepare
from tests.cluster.registry.fleet import FEATURES, MODEL, telemetry
from tests.cluster.test_kserve import GATEWAY, protocol

# Records in a request; gates count records.
RECORDS = 5
_X = telemetry(RECORDS, seed=99)
BODY = [
    {"vehicle_id": f"VH-{index}", "timestamp": "2026-01-15T10:00:00Z", "feature_vector": row}
    for index, row in enumerate(_X.tolist())
]
TENSOR = {"name": "rows", "shape": list(_X.shape), "datatype": "FP64", "data": _X.ravel().tolist()}
_PAUSE_SECONDS = 0.003
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """One answer, with the monotonic seconds at which its request was sent and it came."""

    began: float
    ended: float
    protocol: str
    version: str


@dataclass
class Load:
    """What became of the requests."""

    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def between(self, begin: float, end: float, *protocols: str) -> list[Answer]:
        """Return the answers that were asked for and given within a span, by these protocols, or by any."""
        return [
            answer
            for answer in list(self.answers)
            if answer.began >= begin and answer.ended <= end and (not protocols or answer.protocol in protocols)
        ]

    def versions_since(self, begin: float, *protocols: str) -> set[str]:
        """Return who answered what was asked since then."""
        return {answer.version for answer in self.between(begin, math.inf, *protocols)}

    def last_by(self, version: str, *protocols: str) -> float:
        """Return when a version's last answer came, by these protocols, or by any; long ago if it gave none."""
        found = self.between(-math.inf, math.inf, *protocols)
        return max((answer.ended for answer in found if answer.version == version), default=-math.inf)


@contextmanager
def rest(host: str) -> Iterator[httpx.Client]:
    """Yield a client of an HTTPRoute."""
    with httpx.Client(base_url=f"http://{GATEWAY}", headers={"Host": host}, timeout=_TIMEOUT_SECONDS) as client:
        yield client


@contextmanager
def stub(host: str) -> Iterator[Any]:
    """Yield a client of a GRPCRoute."""
    prepare()
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    with grpc.insecure_channel(GATEWAY, options=[("grpc.default_authority", host)]) as channel:
        yield GRPCInferenceServiceStub(channel)


def scored_by(client: httpx.Client, **headers: str) -> str:
    """Score records by REST; return the one version that scored them all."""
    answered = client.post("/score", json=BODY, headers=headers).raise_for_status().json()
    (version,) = {answer["model_version"] for answer in answered}
    return str(version)


def inferred_by(client: httpx.Client) -> str:
    """Infer by V2's REST; return the version."""
    answered = client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [TENSOR]}).raise_for_status().json()
    return str(answered["model_version"])


def called_by(stub: Any, **metadata: str) -> str:
    """Infer by V2's gRPC; return the version."""
    request = protocol().ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="rows", shape=(RECORDS, len(FEATURES)), datatype="FP64")
    tensor.contents.fp64_contents.extend(TENSOR["data"])
    return str(stub.ModelInfer(request, timeout=_TIMEOUT_SECONDS, metadata=list(metadata.items())).model_version)


@contextmanager
def loading(http_host: str, grpc_host: str, canary: dict[str, str]) -> Iterator[Load]:
    """Send requests over kept connections, one after the other in each, while the block runs.

    Args:
        http_host: of the HTTPRoute.
        grpc_host: of the GRPCRoute.
        canary: headers of further requests by REST, whose answers are noted as those of the protocol `canary`.

    """
    load, over = Load(), threading.Event()
    threads = [
        threading.Thread(target=_by_rest, args=(http_host, over, load)),
        threading.Thread(target=_by_grpc, args=(grpc_host, over, load)),
    ]
    if canary:
        threads.append(threading.Thread(target=_by_canary, args=(http_host, canary, over, load)))
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _by_rest(host: str, over: threading.Event, load: Load) -> None:
    # By chance: a gateway may deal requests out in turns, and of two kinds that alternate each would get one version.
    chance = random.Random(7)  # noqa: S311 - not for secrets
    with rest(host) as client:
        while not over.wait(_PAUSE_SECONDS):
            protocol, ask = chance.choice((("score", scored_by), ("v2", inferred_by)))
            began = time.monotonic()
            try:
                version = ask(client)
                load.answers.append(Answer(began, time.monotonic(), protocol, version))
            except httpx.HTTPError as error:
                load.failures.append(f"{protocol}: {error!r}")


def _by_canary(host: str, headers: dict[str, str], over: threading.Event, load: Load) -> None:
    with rest(host) as client:
        while not over.wait(_PAUSE_SECONDS):
            began = time.monotonic()
            try:
                version = scored_by(client, **headers)
                load.answers.append(Answer(began, time.monotonic(), "canary", version))
            except httpx.HTTPError as error:
                load.failures.append(f"canary: {error!r}")


def _by_grpc(host: str, over: threading.Event, load: Load) -> None:
    with stub(host) as client:
        while not over.wait(_PAUSE_SECONDS):
            began = time.monotonic()
            try:
                version = called_by(client)
                load.answers.append(Answer(began, time.monotonic(), "grpc", version))
            except grpc.RpcError as error:
                load.failures.append(f"grpc: {error.code()} {error.details()}")


def is_share(part: int, whole: int, percent: int) -> bool:
    """Tell whether a random choice with this chance gives so many, but for one time in 100,000."""
    chance = percent / 100
    return abs(part - whole * chance) <= 4.5 * math.sqrt(whole * chance * (1 - chance))
