from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from standalone.cli import main
from standalone.garbage_report import Report
from store.migrate import sqlalchemy_url
from trainer.retention.collecting import Outcome
from trainer.retention.plan import Item, Plan

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ITEMS = [
    Item("version", "default", "20240101000000", "older than 30 days, and nothing refers to it", size=18_600),
    Item("run", "default", "3fa9", "no version came of it: its attempt was lost"),
]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["gc", *arguments])


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "TELLTALE_DATA", "TELLTALE_OBJECT_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_a_wrong_version_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    for wrong in ("default", "default=1", "=20240101000000", "De fault=20240101000000"):
        result = run("--keep", wrong, "--data", str(tmp_path))
        assert result.exit_code == 2
        assert f"{wrong!r} is not MODEL=VERSION" in result.output
    keep = tmp_path / "keep"
    keep.write_text("# from the cluster\n\ndefault=20240101000000\nnonsense\n")
    assert "'nonsense' is not MODEL=VERSION" in run("--keep-from", str(keep)).output


@pytest.mark.usefixtures("quiet")
def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = run("--data", str(tmp_path / "none"))
    assert (result.exit_code, "there is no data folder" in result.output) == (1, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quiet")
def test_an_object_store_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("TELLTALE_OBJECT_STORE", str(tmp_path / "none"))
    result = run()
    assert (result.exit_code, "there is no object store at" in result.output) == (1, True)
    assert list(tmp_path.iterdir()) == []


def told(capsys: pytest.CaptureFixture[str], *, as_json: bool, dry_run: bool, **more: Any) -> tuple[bool, str, str]:
    report = Report(Console(stderr=True, width=200), as_json=as_json, dry_run=dry_run)
    plan = Plan(NOW, ITEMS, ["something stays"], **more)
    report.found(plan)
    outcomes = [] if dry_run else [Outcome(ITEMS[0]), Outcome(ITEMS[1], "MLflow: away", failed=True)]
    whole = report.removed(plan, outcomes)
    captured = capsys.readouterr()
    return whole, captured.out, captured.err


def test_a_dry_run_says_what_would_go_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    whole, out, err = told(capsys, as_json=False, dry_run=True)
    assert whole
    assert out.splitlines() == [
        "KIND     MODEL    ID                BYTES  WHY",
        "version  default  20240101000000  18.6 kB  older than 30 days, and nothing refers to it",
        "run      default  3fa9                  -  no version came of it: its attempt was lost",
        "would go: 1 x version, 18.6 kB",
        "would go: 1 x run, -",
        "would go: 2 in all, 18.6 kB",
    ]
    assert err == "note: something stays\n"


def test_a_run_says_what_went_what_stayed_and_that_a_store_failed(capsys: pytest.CaptureFixture[str]) -> None:
    whole, out, _ = told(capsys, as_json=False, dry_run=False)
    assert not whole
    assert out.splitlines() == [
        "removed version 20240101000000 of default (18.6 kB): older than 30 days, and nothing refers to it",
        "kept run 3fa9 of default: MLflow: away",
        "removed: 1 x version, 18.6 kB",
        "removed: 1 in all, 18.6 kB",
    ]


def test_json_tells_the_same_to_programs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = told(capsys, as_json=True, dry_run=False)
    document = json.loads(out)
    assert [(item["id"], item["removed"], item.get("kept")) for item in document["items"]] == [
        ("20240101000000", True, None),
        ("3fa9", False, "MLflow: away"),
    ]
    assert document["totals"] == {"version": {"count": 1, "bytes": 18600}, "run": {"count": 1, "bytes": 0}}
    assert document["notes"] == ["something stays"]
    _, out, _ = told(capsys, as_json=True, dry_run=True)
    assert "removed" not in json.loads(out)["items"][0]


def test_what_could_not_be_asked_makes_the_run_fail(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, as_json=True, dry_run=True, complete=False)[0] is False


@pytest.mark.integration
def test_the_command_works_on_the_stores_of_a_deployment(tmp_path: Path, database_url: str) -> None:
    from store.ingest_log import IngestLog
    from store.local_objects import LocalObjectStore
    from store.parquet import encode_batch
    from store.postgres import Postgres
    from store.queue import TrainingQueue
    from tests.store.test_batch_retention import batch

    objects = LocalObjectStore(tmp_path / "objects")
    postgres = Postgres(database_url)
    postgres.open()
    log = IngestLog(postgres, objects, TrainingQueue(postgres))
    row = log.accept(encode_batch(batch()), now=NOW, warnings=[])
    postgres.close()
    stray = "batches/default/11111111-1111-4111-8111-111111111111.parquet"
    objects.create(stray, b"stray")
    objects.create("batches/vans/11111111-1111-4111-8111-111111111111.parquet", b"unknown model")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TELLTALE", "MLFLOW"))} | {
        "DATABASE_URL": database_url,
        "TELLTALE_OBJECT_STORE": (tmp_path / "objects").as_uri(),
        "MLFLOW_TRACKING_URI": sqlalchemy_url(database_url),
        "TELLTALE_GC_GRACE_HOURS": "0",
    }

    def gc(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "standalone.cli", "gc", "-o", "json", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    found = gc("--dry-run")
    assert [(item["kind"], item["bytes"]) for item in found["items"]] == [("batch object", 5)]
    assert found["notes"] == ["batches/vans/ is left alone: the database knows no model vans"]
    assert objects.exists(stray)
    assert [item["removed"] for item in gc()["items"]] == [True]
    assert sorted(objects.keys("batches/default/")) == [row.object_key]
    assert not (tmp_path / ".telltale").exists()
