from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from standalone import jobs_view as view
from standalone.cli import main
from standalone.data_folder import DataFolder, Instance
from standalone.embedded_postgres import EmbeddedPostgres
from store.attempts import Attempts
from store.ingest_log import BatchRow, IngestLog
from store.jobs import Job
from store.local_objects import LocalObjectStore
from store.postgres import Postgres
from store.queue import TrainingQueue
from tests.store.test_ingest_log import stored

NOW = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)


@pytest.fixture
def postgres(database_url: str) -> Iterator[Postgres]:
    postgres = Postgres(database_url)
    postgres.open()
    yield postgres
    postgres.close()


@pytest.fixture
def log(postgres: Postgres, tmp_path: Path) -> IngestLog:
    return IngestLog(postgres, LocalObjectStore(tmp_path), TrainingQueue(postgres))


@pytest.fixture
def row(log: IngestLog) -> BatchRow:
    return log.accept(stored(), now=NOW, warnings=[])


def telltale(*arguments: str, url: str | None) -> Result:
    return CliRunner().invoke(main, ["jobs", *arguments], env={"DATABASE_URL": url}, terminal_width=200)


def fail(postgres: Postgres, row: BatchRow, reason: str = "ValueError: cursed\nreally\t!") -> None:
    attempts = Attempts(postgres, "host:1")
    attempts.begin(row.id)
    attempts.fault(row.id, reason, most=1)


pytestmark = pytest.mark.integration


def test_jobs_are_listed_as_lines_with_tabs_for_other_programs(
    database_url: str, postgres: Postgres, row: BatchRow
) -> None:
    fail(postgres, row)
    header, line = telltale(url=database_url).stdout.splitlines()
    assert header.split("\t")[:4] == ["job", "model", "version", "state"]
    cells = line.split("\t")
    assert cells[:5] == [row.id, "default", row.version, "failed", "3"]
    assert cells[6:] == ["1", "host:1", "ValueError: cursed really !"]


def test_jobs_are_listed_as_json(database_url: str, postgres: Postgres, row: BatchRow) -> None:
    fail(postgres, row)
    (job,) = json.loads(telltale("-o", "json", url=database_url).stdout)
    assert (job["job"], job["model_version"], job["state"], job["faults"]) == (row.id, row.version, "failed", 1)
    assert datetime.fromisoformat(job["received_at"]) == NOW
    assert job["next_attempt_at"] is None


def test_what_is_done_is_shown_when_asked_for(database_url: str, log: IngestLog, row: BatchRow) -> None:
    log.finish_training(row.id)
    assert json.loads(telltale("-o", "json", url=database_url).stdout) == []
    for asked in (["--all"], ["--state", "done"], ["--all", "--model", "default"]):
        assert row.id in telltale(*asked, url=database_url).stdout
    assert row.id not in telltale("--all", "--model", "other", url=database_url).stdout


def test_a_job_is_shown_whole_by_the_beginning_of_its_id(database_url: str, postgres: Postgres, row: BatchRow) -> None:
    fail(postgres, row)
    shown = telltale("show", row.id[:8], url=database_url).stdout
    assert f"job          {row.id}" in shown
    assert "attempts     1 (1 failed, 0 ended with their worker)" in shown
    assert "worker       host:1" in shown
    assert "ended " in shown
    assert json.loads(telltale("show", row.id, "-o", "json", url=database_url).stdout)["worker"] == "host:1"


def test_a_failed_job_is_retried_and_it_is_said(
    database_url: str, postgres: Postgres, log: IngestLog, row: BatchRow
) -> None:
    fail(postgres, row, "ValueError: cursed")
    done = telltale("retry", row.id[:8], url=database_url)
    assert done.exit_code == 0
    assert (
        done.stdout == f"job {row.id[:8]} (default {row.version}) is queued again; it had failed: ValueError: cursed\n"
    )
    assert log.get(row.id).state == "queued"
    again = telltale("retry", row.id[:8], url=database_url)
    assert again.exit_code == 1
    assert again.stderr == f"Error: job {row.id[:8]}: it is queued, and only failed jobs are retried\n"


def test_everything_that_failed_is_retried(database_url: str, postgres: Postgres, row: BatchRow) -> None:
    fail(postgres, row)
    assert row.id[:8] in telltale("retry", "--all-failed", "--model", "default", url=database_url).stdout
    assert telltale("retry", "--all-failed", url=database_url).stdout == "nothing has failed\n"


def test_a_queued_job_is_cancelled(database_url: str, log: IngestLog, row: BatchRow) -> None:
    done = telltale("cancel", row.id, url=database_url)
    assert done.stdout.startswith(f"job {row.id[:8]} (default {row.version}) is cancelled;")
    assert log.get(row.id).state == "failed"
    assert "only queued jobs are cancelled" in telltale("cancel", row.id, url=database_url).stderr


def test_nothing_is_changed_if_one_of_several_jobs_does_not_exist(
    database_url: str, postgres: Postgres, log: IngestLog, row: BatchRow
) -> None:
    fail(postgres, row)
    refused = telltale("retry", row.id, "00000000", url=database_url)
    assert (refused.exit_code, log.get(row.id).state) == (1, "failed")
    assert refused.stderr == "Error: there is no job '00000000'; `telltale jobs --all` lists them\n"


def test_a_beginning_that_several_jobs_share_is_refused(database_url: str, log: IngestLog) -> None:
    rows = [log.accept(stored(), now=NOW, warnings=[]) for _ in range(17)]  # more than there are first digits
    firsts = [row.id[0] for row in rows]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    assert "several jobs begin with" in telltale("show", shared, url=database_url).stderr


@pytest.mark.parametrize("arguments", [["retry"], ["retry", "x", "--all-failed"], ["retry", "x", "--model", "m"]])
def test_what_is_to_be_retried_has_to_be_clear(arguments: list[str]) -> None:
    assert telltale(*arguments, url="postgresql://127.0.0.1:1/none").exit_code == 2


def test_the_newest_jobs_only_are_said_to_be_so(database_url: str, log: IngestLog) -> None:
    rows = [log.accept(stored(), now=NOW + timedelta(seconds=i), warnings=[]) for i in range(3)]
    listed = telltale("--limit", "2", url=database_url)
    assert listed.stderr == "the newest 2 only; --limit shows more\n"
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()[1:]] == [rows[1].id, rows[2].id]


def test_the_running_instance_is_found_by_its_data_folder(database_url: str, row: BatchRow, tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "data")
    missing = telltale("--data", str(data.path), url=None)
    assert missing.exit_code == 1
    assert f"no Telltale runs on the data folder {data.path}: start it" in missing.stderr
    data.note_instance(Instance(1, "http://127.0.0.1:8000", database_url))
    assert row.id in telltale("--data", str(data.path), url=None).stdout
    assert row.id in telltale("--data", str(data.path), "show", row.id, url=None).stdout
    assert row.id in telltale("show", row.id, "--data", str(data.path), url=None).stdout


def test_looking_makes_no_data_folder(tmp_path: Path) -> None:
    assert telltale("--data", str(tmp_path / "none"), url=None).exit_code == 1
    assert not (tmp_path / "none").exists()


def test_a_database_that_is_away_or_not_ours_is_said_in_a_sentence(postgres_server: EmbeddedPostgres) -> None:
    away = telltale(url="postgresql://u:secret-word@127.0.0.1:1/none")
    assert away.exit_code == 1
    assert away.stderr.startswith("Error: PostgreSQL (the one of DATABASE_URL) cannot be used: ")
    assert "secret-word" not in away.output
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE not_ours")
    other = telltale(url=f"{postgres_server.url.rpartition('/')[0]}/not_ours")
    assert "holds no Telltale, or one of an older version" in other.stderr
    nonsense = telltale(url="nonsense")
    assert (nonsense.exit_code, "Traceback" in nonsense.output) == (1, False)


def job(**changes: object) -> Job:
    known: dict[str, object] = {
        "id": "1a2b3c4d-0000-0000-0000-000000000000",
        "model": "default",
        "version": "20240115100000",
        "state": "failed",
        "record_count": 12_000,
        "received_at": NOW - timedelta(hours=3),
        "attempts": 5,
        "faults": 5,
        "losses": 0,
        "worker": "trainer-7d9f:1",
        "started_at": NOW,
        "finished_at": NOW,
        "reason": "TrackingRefused: [bold]no[/bold] " + "x" * 200,
        "next_attempt_at": None,
    }
    return Job(**(known | changes))  # type: ignore[arg-type]


def test_a_terminal_gets_a_table_with_a_line_for_each_job() -> None:
    output = io.StringIO()
    Console(file=output, width=120, force_terminal=True, color_system=None).print(view.table([job()], NOW, width=120))
    header, line = output.getvalue().splitlines()
    assert header.split() == ["job", "model", "version", "state", "records", "age", "attempts", "worker", "reason"]
    assert line.split()[:8] == ["1a2b3c4d", "default", "20240115100000", "failed", "12000", "3", "h", "5"]
    assert "[bold]no[/bold]" in line
    assert line.rstrip().endswith("…")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d"), (-5, "0 s")]
)
def test_ages_are_in_their_largest_unit(seconds: int, text: str) -> None:
    assert view.ago(timedelta(seconds=seconds)) == text


def test_the_next_attempt_is_told_of_a_job_that_waits_for_it() -> None:
    waits = job(state="queued", finished_at=None, next_attempt_at=NOW + timedelta(seconds=8))
    assert "next attempt 2024-01-15T10:00:08+00:00 (in 8 s)" in view.details(waits, NOW)
