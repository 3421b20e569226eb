"""Submissions are counted by week and site from an index."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_submissions_received", "submissions", ["received_at", "site_id", "ciphertext_size"])
