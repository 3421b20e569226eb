"""The studies of an agreement are counted from an index."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_submissions_agreement_study", "submissions", ["agreement", "study"])
