from __future__ import annotations

import psycopg
import pytest

from store.attempts import lock_name
from store.errors import StoreUnavailable
from trainer.attempt import AttemptLock, lock_options
from trainer.errors import AttemptRunning

pytestmark = pytest.mark.integration


def end_session(url: str, batch_id: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND objid = (hashtextextended(%s, 0) & 4294967295)::bigint::oid",
            (lock_name(batch_id),),
        ).fetchall()
    assert ended == [(True,)]


def test_one_attempt_at_a_time_holds_a_batch(database_url: str) -> None:
    lock = AttemptLock(database_url)
    with lock.held("a") as still_alone, lock.held("b"):
        still_alone()
        with pytest.raises(AttemptRunning), lock.held("a"):
            pytest.fail("it is taken")
    with lock.held("a"):
        pass


def test_an_error_of_the_attempt_is_told_as_it_is(database_url: str) -> None:
    with pytest.raises(ValueError, match="cursed"), AttemptLock(database_url).held("a"):
        raise ValueError("cursed")


def test_whatever_goes_wrong_in_an_attempt_that_was_overtaken_is_not_held_against_it(database_url: str) -> None:
    def attempt() -> None:
        with AttemptLock(database_url).held("a"):
            end_session(database_url, "a")
            raise ValueError("the run was deleted by the attempt that overtook us")

    with pytest.raises(StoreUnavailable):
        attempt()


def test_the_check_tells_that_the_lock_is_lost(database_url: str) -> None:
    with AttemptLock(database_url).held("a") as still_alone:
        end_session(database_url, "a")
        with pytest.raises(StoreUnavailable):
            still_alone()


def test_the_server_notices_soon_that_a_locks_machine_vanished(database_url: str) -> None:
    with psycopg.connect(database_url, **lock_options()) as connection:
        shown = [
            int(str(connection.execute(f"SHOW tcp_keepalives_{name}").fetchone()[0]))  # type: ignore[index]
            for name in ("idle", "interval", "count")
        ]
    idle, interval, count = shown
    assert 0 < idle + interval * count < 8
