"""Token buckets in PostgreSQL: one row for each subject with traffic, settled by all replicas.

One statement settles all subjects of a tick, by the database's clock. Rows are locked in the order of their subjects,
so replicas never deadlock. A bucket that is full has no row.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from store.errors import StoreUnavailable
from store.postgres import Postgres
from store.quotas import Ask, BucketShape, Grant


def _grant(want: str, owed: str, level: str) -> str:
    """Return the SQL for what is granted: all that is given back; else what is owed, and more while there is some."""
    return f"CASE WHEN {want} < 0 THEN {want} ELSE greatest({owed}, least({want}, greatest({level}, 0))) END"


_FIRST = _grant("want", "owed", "%(capacity)s")
_NEXT = _grant("excluded.asked", "excluded.owed", "filled.level")
_SETTLE = f"""
INSERT INTO quota_buckets AS bucket (subject, tokens, demand, asked, owed, granted, updated_at)
SELECT subject, least(%(capacity)s, %(capacity)s - {_FIRST}), demand / %(memory)s, want, owed, {_FIRST},
       clock_timestamp()
FROM unnest(%(subjects)s::text[], %(wants)s::float8[], %(owed)s::float8[], %(demands)s::float8[])
     AS ask (subject, want, owed, demand)
ORDER BY subject
ON CONFLICT (subject) DO UPDATE SET (tokens, demand, asked, owed, granted, updated_at) = (
    SELECT least(%(capacity)s, filled.level - {_NEXT}),
           bucket.demand * exp(-filled.seconds / %(memory)s) + excluded.demand,
           excluded.asked, excluded.owed, {_NEXT}, filled.at
    FROM (
        SELECT since.at, since.seconds, least(%(capacity)s, bucket.tokens + %(rate)s * since.seconds) AS level
        FROM (
            SELECT now.at, greatest(0, extract(epoch FROM now.at - bucket.updated_at))::float8 AS seconds
            FROM (SELECT greatest(clock_timestamp(), bucket.updated_at) AS at) AS now
        ) AS since
    ) AS filled
)
RETURNING subject, granted, tokens, demand
"""

# Whoever settles a bucket holds its row, so it is in use and none of ours: SKIP LOCKED, which also cannot deadlock.
_FORGET_FULL = """
DELETE FROM quota_buckets WHERE subject IN (
    SELECT subject FROM quota_buckets
    WHERE tokens + %(rate)s * extract(epoch FROM clock_timestamp() - updated_at) >= %(capacity)s
          AND updated_at < clock_timestamp() - make_interval(secs => 10 * %(memory)s)
    FOR UPDATE SKIP LOCKED
)
"""


class PostgresQuotas:
    """Buckets in the table ``quota_buckets``.

    Args:
        postgres: best a pool of its own with one connection and a short wait, so that neither a busy nor a hanging
            database holds up anything but leases.

    """

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def settle(self, shape: BucketShape, asks: Sequence[Ask]) -> list[Grant]:
        """Settle asks, of which no two have the same subject.

        Raises:
            StoreUnavailable: PostgreSQL does not answer, or its schema is older than this release.

        """
        subjects, wants, owed, demands = (list(column) for column in zip(*asks, strict=True))
        values = {
            "subjects": subjects,
            "wants": wants,
            "owed": owed,
            "demands": demands,
            "rate": shape.rate,
            "capacity": shape.capacity,
            "memory": shape.memory_seconds,
        }
        try:
            with self._postgres.transaction() as connection:
                return [Grant(*row) for row in connection.execute(_SETTLE, values)]
        except psycopg.errors.UndefinedTable as error:
            raise StoreUnavailable(
                "the table quota_buckets is missing: migrate the database", retry_after=30
            ) from error

    def forget_full(self, shape: BucketShape) -> int:
        """Drop buckets that are full and idle; returns how many. StoreUnavailable if PostgreSQL does not answer."""
        values = {"rate": shape.rate, "capacity": shape.capacity, "memory": shape.memory_seconds}
        with self._postgres.transaction() as connection:
            return connection.execute(_FORGET_FULL, values).rowcount
