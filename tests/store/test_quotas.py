from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from store.errors import StoreUnavailable
from store.postgres import Postgres, connection_options
from store.postgres_quotas import PostgresQuotas
from store.quotas import Ask, BucketShape, Grant

pytestmark = pytest.mark.integration

# A bucket that fills so slowly that a test sees what it takes alone.
STILL = BucketShape(rate=1e-6, capacity=10, memory_seconds=2)


@pytest.fixture
def postgres(database_url: str) -> Iterator[Postgres]:
    opened = Postgres(database_url, max_connections=4, wait_seconds=1)
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def quotas(postgres: Postgres) -> PostgresQuotas:
    return PostgresQuotas(postgres)


def _settle(quotas: PostgresQuotas, want: float, owed: float = 0, demand: float = 0) -> tuple[float, float]:
    (grant,) = quotas.settle(STILL, [Ask("me", want, owed, demand)])
    return round(grant.granted, 3), round(grant.left, 3)


def test_a_new_bucket_is_full_and_gives_what_it_has(quotas: PostgresQuotas) -> None:
    assert _settle(quotas, 4) == (4, 6)
    assert _settle(quotas, 4) == (4, 2)
    assert _settle(quotas, 4) == (2, 0)
    assert _settle(quotas, 4) == (0, 0)


def test_a_first_ask_for_more_than_the_bucket_gets_the_bucket(quotas: PostgresQuotas) -> None:
    assert _settle(quotas, 14) == (10, 0)


def test_what_is_owed_is_granted_in_any_case_and_the_bucket_goes_below_nothing(quotas: PostgresQuotas) -> None:
    assert _settle(quotas, 14, owed=12) == (12, -2)
    assert _settle(quotas, 5, owed=3) == (3, -5)
    assert _settle(quotas, 5) == (0, -5)


def test_what_is_given_back_comes_in_and_a_full_bucket_spills_it(quotas: PostgresQuotas) -> None:
    assert _settle(quotas, 8) == (8, 2)
    assert _settle(quotas, -3) == (-3, 5)
    assert _settle(quotas, -30) == (-30, 10)


def test_giving_back_to_a_bucket_that_was_forgotten_makes_a_full_one(quotas: PostgresQuotas) -> None:
    assert _settle(quotas, -3) == (-3, 10)


def test_a_bucket_fills_by_the_databases_clock(quotas: PostgresQuotas, postgres: Postgres) -> None:
    shape = BucketShape(rate=100, capacity=1000)
    quotas.settle(shape, [Ask("me", 1000, 0, 0)])
    with postgres.transaction() as connection:
        connection.execute("UPDATE quota_buckets SET tokens = 0, updated_at = clock_timestamp() - interval '2 s'")
    (grant,) = quotas.settle(shape, [Ask("me", 1000, 0, 0)])
    assert grant.granted == pytest.approx(200, abs=50)
    assert grant.left == 0


def test_a_clock_that_went_back_takes_nothing_away(quotas: PostgresQuotas, postgres: Postgres) -> None:
    assert _settle(quotas, 4) == (4, 6)
    with postgres.transaction() as connection:
        connection.execute("UPDATE quota_buckets SET updated_at = clock_timestamp() + interval '1 h'")
    assert _settle(quotas, 1) == (1, 5)


def test_demand_is_averaged_over_all_replicas(quotas: PostgresQuotas, postgres: Postgres) -> None:
    shape = BucketShape(rate=10, capacity=10, memory_seconds=2)
    (first,) = quotas.settle(shape, [Ask("me", 1, 0, 8)])
    assert first.demand == 4
    with postgres.transaction() as connection:
        connection.execute("UPDATE quota_buckets SET updated_at = clock_timestamp() - interval '2 s'")
    (second,) = quotas.settle(shape, [Ask("me", 1, 0, 2)])
    assert second.demand == pytest.approx(4 / 2.71828 + 1, rel=0.1)


def test_many_subjects_are_settled_at_once_and_each_has_its_own_bucket(quotas: PostgresQuotas) -> None:
    asks = [Ask(f"subject-{i}", i % 12, 0, 1) for i in range(1, 300)]
    grants = {grant.subject: grant for grant in quotas.settle(STILL, asks)}
    assert len(grants) == 299
    assert grants["subject-7"] == Grant("subject-7", 7, 3, 0.5)
    assert grants["subject-11"].granted == 10


def test_subjects_are_any_text(quotas: PostgresQuotas) -> None:
    names = ["sub:Ünï ✓", "'; DROP TABLE quota_buckets; --", "{a,b}", '"', "\\", "NULL", "%s", "x" * 260]
    grants = quotas.settle(STILL, [Ask(name, 1, 0, 0) for name in names])
    assert {grant.subject for grant in grants} == set(names)


def test_replicas_that_settle_the_same_subjects_at_once_neither_deadlock_nor_give_twice(quotas: PostgresQuotas) -> None:
    shape = BucketShape(rate=1e-6, capacity=1000)
    granted: list[float] = []
    failures: list[Exception] = []

    def replica(step: int) -> None:
        names = [f"s{i}" for i in range(40)][::step]
        for _ in range(25):
            try:
                granted.extend(grant.granted for grant in quotas.settle(shape, [Ask(name, 12, 0, 1) for name in names]))
                quotas.forget_full(shape)
            except StoreUnavailable as error:
                failures.append(error)

    threads = [threading.Thread(target=replica, args=(step,)) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(granted) == pytest.approx(40 * 1000)


def test_only_full_and_idle_buckets_are_forgotten(quotas: PostgresQuotas, postgres: Postgres) -> None:
    asks = [Ask("full", -1, 0, 0), Ask("full-and-busy", -1, 0, 0), Ask("in-debt", 500, 500, 0), Ask("filled", 5, 0, 0)]
    shape = BucketShape(rate=1, capacity=10)
    quotas.settle(shape, asks)
    with postgres.transaction() as connection:
        connection.execute(
            "UPDATE quota_buckets SET updated_at = clock_timestamp() - interval '1 min'"
            " WHERE subject <> 'full-and-busy'"
        )
    assert quotas.forget_full(shape) == 2
    with postgres.transaction() as connection:
        left = connection.execute("SELECT subject FROM quota_buckets ORDER BY subject").fetchall()
    assert left == [("full-and-busy",), ("in-debt",)]


def test_forgetting_waits_for_nobody(quotas: PostgresQuotas, postgres: Postgres) -> None:
    shape = BucketShape(rate=1, capacity=10)
    quotas.settle(shape, [Ask("settled", -1, 0, 0), Ask("idle", -1, 0, 0)])
    with postgres.transaction() as connection:
        connection.execute("UPDATE quota_buckets SET updated_at = clock_timestamp() - interval '1 min'")
    with postgres.transaction() as connection:
        connection.execute("SELECT 1 FROM quota_buckets WHERE subject = 'settled' FOR UPDATE")
        assert quotas.forget_full(shape) == 1
    assert quotas.forget_full(shape) == 1


def test_a_database_that_is_away_is_a_store_that_is_unavailable() -> None:
    away = Postgres("postgresql://nobody@127.0.0.1:1/none", max_connections=1, wait_seconds=0.1)
    away.open()
    try:
        with pytest.raises(StoreUnavailable):
            PostgresQuotas(away).settle(STILL, [Ask("me", 1, 0, 0)])
        with pytest.raises(StoreUnavailable):
            PostgresQuotas(away).forget_full(STILL)
    finally:
        away.close()


def test_a_schema_that_is_too_old_says_what_to_do(quotas: PostgresQuotas, postgres: Postgres) -> None:
    with postgres.transaction() as connection:
        connection.execute("DROP TABLE quota_buckets")
    with pytest.raises(StoreUnavailable, match="migrate the database"):
        quotas.settle(STILL, [Ask("me", 1, 0, 0)])


def test_leases_write_no_log(database_url: str) -> None:
    with psycopg.connect(database_url, **connection_options()) as connection:
        row = connection.execute("SELECT relpersistence FROM pg_class WHERE relname = 'quota_buckets'").fetchone()
    assert row == ("u",)
