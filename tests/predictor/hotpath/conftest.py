"""Predictors without a database: one version is pinned, another lies in the store and is loaded when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from predictor.hotpath.express import ExpressProtocol
from store.local_objects import LocalObjectStore
from store.model_store import ModelStore
from tests.predictor.forests import publish, stump_forest
from tests.predictor.hotpath.simulated_express import until
from tests.predictor.hotpath.wire import Wire, WireAnswer
from tests.predictor.running import Running, running

OLD, NEW = "20240101000000", "20240115100000"
FEATURES = ("f0", "f1", "f2", "f3")


@contextmanager
def pinned(folder: Path, **changes: Any) -> Iterator[Running]:
    """Run a predictor whose model `default` is pinned to NEW, once all of it is built."""
    models = ModelStore(LocalObjectStore(folder))
    publish(models, "default", OLD, stump_forest(FEATURES, threshold=0.1))
    publish(models, "default", NEW, stump_forest(FEATURES))
    publish(models, "other", OLD, stump_forest(("speed", "rpm")))
    with running(None, folder, model="default", model_version=NEW, **changes) as server:
        until(lambda: server.client.get("/v2/health/ready").status_code == 200)
        yield server


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Such a predictor, for tests that change nothing."""
    with pinned(tmp_path_factory.mktemp("objects")) as server:
        yield server


def protocol_of(server: Running, connection: Wire) -> ExpressProtocol:
    """The server's end of a connection."""
    peer = connection.socket.getsockname()
    found: list[Any] = []

    def is_accepted() -> bool:
        found[:] = [one for one in list(server.server.server_state.connections) if one.client == peer]
        return bool(found)

    until(is_accepted)
    protocol: ExpressProtocol = found[0]
    return protocol


class Ways:
    """Asks a predictor by the express lane or by the ordinary way, and makes sure that it was that one."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._answer = server.predictor.express.answer
        self.taken: list[bool] = []
        server.predictor.express.answer = self._noting  # type: ignore[method-assign]

    def _noting(self, *args: Any, **kwargs: Any) -> Any:
        answered = self._answer(*args, **kwargs)
        self.taken.append(bool(answered.payload))
        return answered

    def at_once(self, connection: Wire, raw: bytes) -> WireAnswer:
        """Ask in one piece: by the lane, if it answers such a request."""
        return connection.ask(raw)

    def ordinarily(self, connection: Wire, raw: bytes) -> WireAnswer:
        """Ask with a head in two pieces, which never go by the lane."""
        had = len(self.taken)
        connection.send(raw[:10])
        protocol = protocol_of(self._server, connection)
        until(lambda: protocol._is_watched)
        answer = connection.ask(raw[10:])
        assert len(self.taken) == had
        return answer
