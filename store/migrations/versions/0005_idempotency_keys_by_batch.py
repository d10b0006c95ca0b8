"""An index by which an idempotency key is found that belongs to a batch.

Revision ID: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it: without it PostgreSQL reads all keys each time a batch is removed."""
    op.execute("CREATE INDEX idempotency_keys_batch ON idempotency_keys (batch_id)")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP INDEX idempotency_keys_batch")
