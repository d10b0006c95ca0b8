"""Models, batches, idempotency keys, what is served, and procrastinate's queue.

Revision ID: 0001
"""

from __future__ import annotations

import psycopg
from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE models (
    name          text PRIMARY KEY,
    feature_names text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE batches (
    id             uuid PRIMARY KEY,
    model          text NOT NULL REFERENCES models (name),
    version        char(14) NOT NULL,
    object_key     text NOT NULL,
    digest         text NOT NULL,
    record_count   integer NOT NULL CHECK (record_count > 0),
    received_at    timestamptz NOT NULL,
    state          text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'training', 'done', 'failed')),
    error          text,
    warnings       text[] NOT NULL DEFAULT '{}',
    finished_at    timestamptz,
    gate           text CHECK (gate IN ('passed', 'refused')),
    gate_reason    text,
    UNIQUE (model, version)
);

CREATE INDEX batches_ungated ON batches (version) WHERE state = 'done' AND gate IS NULL;

CREATE TABLE idempotency_keys (
    key         text PRIMARY KEY,
    body_digest text NOT NULL,
    batch_id    uuid NOT NULL REFERENCES batches (id) DEFERRABLE INITIALLY DEFERRED,
    status      integer,
    answer      jsonb,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE served_versions (
    model   text PRIMARY KEY,
    version char(14) NOT NULL,
    digest  text NOT NULL,
    since   timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Create the tables; procrastinate's own come from the package, at the version that the lock pins."""
    driver = op.get_bind().connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"migrations run by psycopg, not {type(driver)}")
    # Straight to psycopg: the scripts hold several statements and percent signs, which SQLAlchemy would read.
    driver.execute(_TABLES.encode())
    driver.execute(SchemaManager.get_schema().encode())


def downgrade() -> None:
    """Drop what upgrade created."""
    raise NotImplementedError("the first schema is removed by DROP SCHEMA telltale CASCADE")
