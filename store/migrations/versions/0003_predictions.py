"""The prediction log.

Revision ID: 0003
"""

from __future__ import annotations

import psycopg
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# No primary key and no B-tree: rows come by the ten thousand a second, and go by the day. Within a day rows lie in the
# order of their time, which the BRIN index serves at next to no cost.
_TABLE = """
CREATE TABLE predictions (
    ts            timestamptz NOT NULL,
    request_id    text NOT NULL,
    protocol      text NOT NULL,
    model         text NOT NULL,
    model_version text NOT NULL,
    vehicle_id    text,
    features      double precision[] NOT NULL,
    anomaly_score double precision NOT NULL,
    is_anomaly    boolean NOT NULL
) PARTITION BY RANGE (ts);

CREATE INDEX predictions_ts ON predictions USING brin (ts);
"""


def upgrade() -> None:
    """Create the partitioned table; its partitions are made by whoever writes."""
    driver = op.get_bind().connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"migrations run by psycopg, not {type(driver)}")
    driver.execute(_TABLE.encode())


def downgrade() -> None:
    """Drop the log with all that is in it."""
    op.execute("DROP TABLE predictions")
