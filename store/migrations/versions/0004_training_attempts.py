"""The attempts at a batch, counted for all workers together.

Revision ID: 0004
"""

from __future__ import annotations

import psycopg
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# A failed batch is its own dead letter: the queue keeps no job of it, so what older workers left there goes.
_CHANGES = """
ALTER TABLE batches
    ADD COLUMN attempts   integer NOT NULL DEFAULT 0,
    ADD COLUMN faults     integer NOT NULL DEFAULT 0,
    ADD COLUMN losses     integer NOT NULL DEFAULT 0,
    ADD COLUMN worker     text,
    ADD COLUMN started_at timestamptz,
    ADD COLUMN setback    text;

COMMENT ON COLUMN batches.attempts IS 'how often a worker began to train it, since it was last queued by a person';
COMMENT ON COLUMN batches.faults IS 'of these, how many failed by a fault that was not an outage';
COMMENT ON COLUMN batches.losses IS 'of these, how many ended with their worker''s process';
COMMENT ON COLUMN batches.worker IS 'the last worker that began';
COMMENT ON COLUMN batches.started_at IS 'when that was';
COMMENT ON COLUMN batches.setback IS 'what the last attempt ended with, or waits for, where that was not a version';

CREATE INDEX batches_unfinished ON batches (received_at) WHERE state <> 'done';
CREATE INDEX training_jobs_batch ON procrastinate_jobs ((args ->> 'batch_id'));

DELETE FROM procrastinate_jobs WHERE queue_name = 'training' AND status = 'failed';
"""


def upgrade() -> None:
    """Add the columns and indexes."""
    driver = op.get_bind().connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"migrations run by psycopg, not {type(driver)}")
    driver.execute(_CHANGES.encode())


def downgrade() -> None:
    """Drop them: what is lost is how often each batch was tried."""
    op.execute("DROP INDEX training_jobs_batch")
    op.execute("DROP INDEX batches_unfinished")
    for column in ("setback", "started_at", "worker", "losses", "faults", "attempts"):
        op.execute(f"ALTER TABLE batches DROP COLUMN {column}")
