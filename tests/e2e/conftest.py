from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server import Server, free_port
from tests.conftest import passable_folder


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """One running `telltale serve` for all tests here; each uses models of its own."""
    with passable_folder() as folder:
        server = Server(folder / "data", free_port())
        server.data.mkdir()
        server.start()
        yield server
        assert server.stop() == 0


@pytest.fixture
def own_server(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the test's own, not started yet; on a slow machine it answers 201 late, and not 202."""
    monkeypatch.setenv("TELLTALE_INGEST_WAIT_SECONDS", "55")
    server = Server(data_folder, free_port())
    yield server
    if server.process is not None:
        server.kill()
