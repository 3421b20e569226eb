"""Submissions are counted by site and state from an index."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_submissions_tally", "submissions", ["site_id", "state", "ciphertext_size"])
