"""Which version of each model is served by default: written by the controller, followed by predictors."""

from __future__ import annotations

from psycopg.rows import class_row

from store.postgres import Postgres
from store.served_version import ServedVersion

SERVED_CHANNEL = "telltale_served"


class ServedVersions:
    """The table of default versions."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def all(self) -> dict[str, ServedVersion]:
        """Return the default version of every model that has one, by model."""
        with (
            self._postgres.transaction() as connection,
            connection.cursor(row_factory=class_row(ServedVersion)) as cursor,
        ):
            rows = cursor.execute("SELECT model, version, digest, since FROM served_versions").fetchall()
        return {row.model: row for row in rows}

    def serve(self, model: str, version: str, digest: str) -> None:
        """Make a version its model's default and tell the predictors."""
        with self._postgres.transaction() as connection:
            connection.execute(
                "INSERT INTO served_versions (model, version, digest) VALUES (%s, %s, %s) ON CONFLICT (model)"
                " DO UPDATE SET version = EXCLUDED.version, digest = EXCLUDED.digest, since = now()",
                (model, version, digest),
            )
            connection.execute("SELECT pg_notify(%s, %s)", (SERVED_CHANNEL, model))
