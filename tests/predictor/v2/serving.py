"""A server of the protocol: a model store in a folder, its versions loaded, the real driver under uvicorn, and gRPC.

Only admission and what takes note of scores are simulated, each behind the product's own seam. The whole predictor,
with tokens and quotas, is in :mod:`tests.predictor.v2.test_whole_predictor`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.types import ASGIApp

from contract.manifest import Manifest
from contract.telemetry import Limits
from predictor.hotpath.admission import Admitted
from predictor.hotpath.driver import Driver, DriverParts, InferenceProtocol
from predictor.hotpath.exchange import Scored
from predictor.hotpath.express import express_protocol
from predictor.hotpath.express_lane import ExpressLane
from predictor.hotpath.frame import Frame
from predictor.hotpath.late import Late
from predictor.hotpath.score_batch import BatchScoring
from predictor.hotpath.score_route import ScoreRoute
from predictor.models.loaded_versions import LoadedVersions
from predictor.models.version_reader import LoadedVersion, VersionReader
from predictor.observability.metrics import Metrics
from predictor.security.connection_limits import ConnectionLimits
from predictor.security.errors import Forbidden, RateLimited, Reason, Unauthenticated
from predictor.security.events import NoEvents
from predictor.threads import Threads
from predictor.v2 import kserve_sdk
from predictor.v2.inference import Inference
from predictor.v2.rest import V2Rest
from predictor.v2.served_models import ServedModels
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from store.serving import ServedVersion
from tests.predictor.forests import publish, stump_forest

T = TypeVar("T")
OLD, NEW = "20240101000000", "20240115100000"
FEATURES = ("speed", "rpm", "temperature")


@dataclass
class Notes:
    """What the recorder was told: the rows of each call, with the protocol that brought them."""

    taken: list[tuple[str, str, int]] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)

    def many(self, scored: Scored) -> None:
        self.taken.append((scored.protocol, scored.loaded.version, len(scored.decision)))
        self.request_ids.append(scored.request_id)

    def one(
        self,
        loaded: LoadedVersion,
        decision: float,  # noqa: ARG002 - the port's shape
        values: Sequence[float],  # noqa: ARG002 - the port's shape
        *,
        seconds: float,  # noqa: ARG002 - the port's shape
        request_id: str,
        protocol: str,
        vehicle_id: str | None = None,  # noqa: ARG002 - the port's shape
    ) -> None:
        self.taken.append((protocol, loaded.version, 1))
        self.request_ids.append(request_id)


@dataclass
class Gate:
    """Admission with one token for each scope, ``Bearer <scope>``; open until it is closed."""

    closed: bool = False

    def quick(self, authorization: bytes | None, scope: str | None, client: str) -> Admitted | None:  # noqa: ARG002
        assert client == "127.0.0.1"
        if not self.closed or scope is None:
            return Admitted("someone", ((b"ratelimit-remaining", b"7"),))
        return None

    async def full(self, authorization: bytes | None, scope: str | None, client: str) -> Admitted:  # noqa: ARG002
        if authorization is None:
            raise Unauthenticated(Reason.MISSING, "send a token")
        if authorization == b"Bearer often":
            raise RateLimited(rate=5, retry_after=3)
        if authorization != f"Bearer {scope}".encode():
            raise Forbidden(str(scope), set())
        return Admitted("someone")


@dataclass
class ScoreParts:
    """What ``/score`` needs, which the driver has beside the protocol."""

    loaded: LoadedVersions
    threads: Threads
    notes: Notes


@dataclass
class Parts:
    """What serves the protocol, on its event loop."""

    folder: Path
    models: ModelStore
    loaded: LoadedVersions
    inference: Inference
    plane: Any
    driver: Driver
    express: ExpressLane
    calls: Any
    grpc: Any
    gate: Gate
    notes: Notes
    threads: Threads
    is_ready: list[bool]


def served(manifest: Manifest) -> dict[str, ServedVersion]:
    """The mapping that makes a version its model's default."""
    return {
        manifest.model: ServedVersion(manifest.model, manifest.version, manifest.forest.digest, manifest.created_at)
    }


async def build(folder: Path, limits: Limits) -> Parts:
    """Publish two versions of the model `default`, of which NEW serves, and put what serves them together."""
    kserve_sdk.prepare()
    from predictor.v2.grpc_calls import GrpcCalls
    from predictor.v2.grpc_server import GrpcServer
    from predictor.v2.kserve_model import TelltaleDataPlane, TelltaleRepository

    models = ModelStore(LocalObjectStore(folder))
    publish(models, "default", OLD, stump_forest(FEATURES, threshold=0.5))
    newest = publish(models, "default", NEW, stump_forest(FEATURES))
    publish(models, "undecided", OLD, stump_forest(("speed",)))
    threads, reader, notes = Threads(), VersionReader(models), Notes()
    loaded = LoadedVersions(reader, threads, Metrics(), memory_bytes=1 << 20)
    loaded.want(served(newest))
    await loaded.get("default", None)
    inference = Inference(loaded, threads, notes, limits)
    catalog = ServedModels(models, reader, loaded, threads)
    is_ready = [True]
    plane = TelltaleDataPlane(TelltaleRepository(inference, catalog), catalog, lambda: is_ready[0], version="1.2.3")
    gate = Gate()
    calls = GrpcCalls(inference, plane, gate)
    grpc = GrpcServer(calls, lambda: is_ready[0], max_message_bytes=limits.body_bytes)
    driver, express = frontend(V2Rest(inference, plane), ScoreParts(loaded, threads, notes), gate, limits)
    return Parts(folder, models, loaded, inference, plane, driver, express, calls, grpc, gate, notes, threads, is_ready)


def frontend(rest: V2Rest, parts: ScoreParts, gate: Gate, limits: Limits) -> tuple[Driver, ExpressLane]:
    """Put the driver and the express lane, as the composition root has them, before the protocol."""
    protocol: Late[InferenceProtocol] = Late()
    facade: Late[ASGIApp] = Late()
    protocol.set(rest)
    facade.set(_nothing_else)
    frame = Frame(gate, None, None)
    batches = BatchScoring(parts.loaded, parts.threads, parts.notes, limits)
    score = ScoreRoute(parts.loaded, batches, parts.notes, limits)
    driver = Driver(DriverParts(score, protocol, facade, frame, limits.body_bytes, _nothing_else))
    return driver, ExpressLane(score, protocol, frame, max_body_bytes=limits.body_bytes)


async def _nothing_else(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError("no test asks for what is beside the protocol")


@dataclass
class Serving:
    """A running server, and what it is made of."""

    parts: Parts
    url: str
    port: int
    grpc_port: int
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@contextmanager
def serving(folder: Path, limits: Limits) -> Iterator[Serving]:
    """Serve the protocol on a free port while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    parts = run(build(folder, limits))
    config = uvicorn.Config(
        parts.driver,
        http=express_protocol(parts.express, ConnectionLimits(), NoEvents()),
        host="127.0.0.1",
        port=0,
        ws="none",
        lifespan="off",
        log_config=None,
        server_header=False,
    )
    listening = config.bind_socket()
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign]  # they belong to the main thread
    serves = asyncio.run_coroutine_threadsafe(server.serve(sockets=[listening]), loop)
    port = listening.getsockname()[1]
    grpc_port = run(parts.grpc.start("127.0.0.1:0"))
    try:
        yield Serving(parts, f"http://127.0.0.1:{port}", port, grpc_port, loop)
    finally:
        run(parts.grpc.stop(1))
        server.should_exit = True
        serves.result(30)
        run(parts.loaded.stop())
        parts.threads.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def _nothing() -> Iterator[None]:
    yield
