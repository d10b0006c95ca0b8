"""The count after the kills: it finds what is planted, or its zeros would mean nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from chaos.aftermath import Found, Places, examine
from chaos.clients import FEATURES, Ledger
from contract.columns import Batch
from contract.names import manifest_key
from store.ingest_log import BatchRow
from store.local_objects import LocalObjectStore
from tests.trainer.conftest import (  # noqa: F401 - fixtures
    MLFLOW_WARNINGS,
    Bench,
    batch,
    bench,
    mlflow_template,
    settings,
)

pytestmark = [pytest.mark.integration, *MLFLOW_WARNINGS]


class _Scores(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """A predictor that scores everything."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Scores)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def trained(bench: Bench) -> BatchRow:  # noqa: F811 - the fixture
    """A batch that was delivered as the fleet does, and its version."""
    rows = batch(np.random.default_rng(0).normal(size=(60, FEATURES)), "alpha")
    marked = Batch(rows.model, rows.feature_names, [f"first-{i}" for i in range(60)], rows.timestamps, rows.X)
    row = bench.accept(marked)
    bench.training.train(row.id)
    return row


def count(bench: Bench, url: str, row: BatchRow, ledger: Ledger) -> Found:  # noqa: F811 - the fixture
    places = Places(
        log=bench.log,
        objects=LocalObjectStore(bench.root / "objects"),
        mlflow=bench.client,
        mlflow_objects=LocalObjectStore(bench.root / "mlflow"),
        url=url,
    )
    return examine(places, [row.id], ledger)


def numbers(found: Found) -> tuple[int, int, int]:
    return found.lost, found.half_registered, found.orphans


def test_where_all_is_well_nothing_is_counted(bench: Bench, url: str, trained: BatchRow) -> None:  # noqa: F811
    found = count(bench, url, trained, Ledger(jobs={"first": trained.id}))
    assert (numbers(found), found.notes) == ((0, 0, 0), [])


def test_a_batch_that_was_acknowledged_and_is_nowhere_is_lost(
    bench: Bench,  # noqa: F811
    url: str,
    trained: BatchRow,
) -> None:
    assert numbers(count(bench, url, trained, Ledger(jobs={"first": trained.id, "second": "x"}))) == (1, 0, 0)


def test_a_version_without_its_manifest_is_half_registered_and_its_files_are_orphans(
    bench: Bench,  # noqa: F811
    url: str,
    trained: BatchRow,
) -> None:
    LocalObjectStore(bench.root / "objects").delete(manifest_key(trained.model, trained.version))
    lost, half, orphans = numbers(count(bench, url, trained, Ledger()))
    assert (lost, half) == (0, 1)
    assert orphans >= 3, "forest, probe and the run"


def test_an_object_and_a_run_of_nobody_are_orphans(bench: Bench, url: str, trained: BatchRow) -> None:  # noqa: F811
    LocalObjectStore(bench.root / "objects").create("batches/alpha/of-nobody.parquet", b"x")
    bench.client.create_run(bench.client.get_experiment_by_name("alpha").experiment_id)
    assert numbers(count(bench, url, trained, Ledger())) == (0, 0, 2)


def test_a_version_that_does_not_score_is_half_registered(bench: Bench, trained: BatchRow) -> None:  # noqa: F811
    lost, half, _ = numbers(count(bench, "http://127.0.0.1:9", trained, Ledger()))
    assert (lost, half) == (0, 1)
