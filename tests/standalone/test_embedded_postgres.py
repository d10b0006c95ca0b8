from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from standalone import postgres_home
from standalone.embedded_postgres import EmbeddedPostgres
from standalone.errors import PostgresFailed
from standalone.postgres_home import find_home

pytestmark = pytest.mark.integration


def server(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, folder / "postgres.log")


def test_what_was_committed_survives_a_kill_of_the_server(data_folder: Path) -> None:
    first = server(data_folder)
    first.start()
    with psycopg.connect(first.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(int((first.folder / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    second = server(data_folder)
    second.start()
    with psycopg.connect(second.url) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    second.stop()
    first.stop()


def test_a_server_that_an_earlier_instance_left_running_is_stopped_first(data_folder: Path) -> None:
    left = server(data_folder)
    left.start()
    taken_over = server(data_folder)
    taken_over.start()
    assert not left.is_running()
    with psycopg.connect(taken_over.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    taken_over.stop()


def test_a_half_made_cluster_is_made_anew(data_folder: Path) -> None:
    (data_folder / "postgres.new" / "cluster").mkdir(parents=True)
    (data_folder / "postgres.new" / "cluster" / "PG_VERSION").write_text("18")
    started = server(data_folder)
    started.start()
    assert started.is_running()
    started.stop()


def test_nobody_gets_in_without_the_password(data_folder: Path) -> None:
    started = server(data_folder)
    started.start()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(started.url.replace(started.url.split(":")[2].split("@")[0], "wrong"))
    started.stop()


def test_a_server_that_cannot_start_shows_its_last_words(data_folder: Path) -> None:
    broken = server(data_folder)
    broken.start()
    broken.stop()
    (broken.folder / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(PostgresFailed, match="no_such_setting"):
        server(data_folder).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as somebody else: run the tests as root")
def test_roots_cluster_moves_where_its_user_can_go_and_is_found_there_again(
    tmp_path: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr(postgres_home, "_system_folder", lambda: data_folder)
    home = find_home(closed)
    assert home.folder.is_relative_to(data_folder)
    assert (closed / "postgres.folder").read_text().strip() == str(home.folder)
    assert find_home(closed).folder == home.folder


def test_where_no_folder_will_do_every_one_is_named_with_its_reason(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_home, "_refusal", lambda *_: "the file system keeps no permissions")
    with pytest.raises(PostgresFailed, match="DATABASE_URL") as caught:
        find_home(data_folder)
    assert str(data_folder / "postgres") in str(caught.value)


def test_a_note_of_a_server_that_names_a_strangers_process_harms_nobody(data_folder: Path) -> None:
    first = server(data_folder)
    first.start()
    first.stop()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        (first.folder / "postmaster.pid").write_text(f"{stranger.pid}\n{first.folder}\n")
        again = server(data_folder)
        again.start()
        again.stop()
        assert stranger.poll() is None
        (first.folder / "postmaster.pid").write_text("")
        again.start()
        again.stop()
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_is_started_again_keeps_its_address(data_folder: Path) -> None:
    started = server(data_folder)
    started.start()
    url = started.url
    os.kill(int((started.folder / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while started.is_running():
        assert time.monotonic() < deadline
    started.start()
    assert started.url == url
    started.stop()


def test_an_empty_password_file_of_a_start_that_was_cut_is_made_anew(data_folder: Path) -> None:
    (data_folder / "postgres.password").touch()
    started = server(data_folder)
    started.start()
    started.stop()
    (data_folder / "postgres.password").unlink()
    with pytest.raises(PostgresFailed, match="restore it"):
        server(data_folder).start()


def test_a_copy_does_not_take_the_originals_database(tmp_path: Path, data_folder: Path) -> None:
    (data_folder / "data-folder").write_text("/the/original\n")
    (tmp_path / "postgres.folder").write_text(f"{data_folder / 'postgres'}\n")
    with pytest.raises(PostgresFailed, match="that of /the/original"):
        find_home(tmp_path)
