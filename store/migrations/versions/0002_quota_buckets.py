"""Quotas that replicas lease from: one token bucket for each subject with traffic.

Revision ID: 0002
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Unlogged, so that a lease waits for no disk: after a crash of the server every bucket is full, which a limit by the
# second has forgotten soon. Room in each page lets an update stay there, and leaves the index alone.
_TABLES = """
CREATE UNLOGGED TABLE quota_buckets (
    subject    text PRIMARY KEY,
    tokens     double precision NOT NULL,
    demand     double precision NOT NULL,
    asked      double precision NOT NULL,
    owed       double precision NOT NULL,
    granted    double precision NOT NULL,
    updated_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);

COMMENT ON TABLE quota_buckets IS 'Rate limits: a token bucket for each subject; a full one needs no row';
COMMENT ON COLUMN quota_buckets.tokens IS 'requests left at updated_at; below 0 when replicas admitted ahead of it';
COMMENT ON COLUMN quota_buckets.demand IS 'requests a second that all replicas saw lately, admitted or not';
COMMENT ON COLUMN quota_buckets.asked IS 'of the last lease: what it asked for, below 0 to give back';
COMMENT ON COLUMN quota_buckets.owed IS 'of the last lease: what had been admitted already';
COMMENT ON COLUMN quota_buckets.granted IS 'of the last lease: what it got';
"""


def upgrade() -> None:
    """Create the table."""
    for statement in filter(str.strip, _TABLES.split(";\n")):
        op.execute(statement)


def downgrade() -> None:
    """Drop it: all that is lost is who sent how much in the last seconds."""
    op.execute("DROP TABLE quota_buckets")
