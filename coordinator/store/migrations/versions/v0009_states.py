"""The state of each submission, the decision that set it, and the number of its last change."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: what was received before is in its first state since its arrival."""
    op.add_column("submissions", sa.Column("state", sa.String(length=20), nullable=False, server_default="received"))
    op.add_column("submissions", sa.Column("decision", sa.JSON(none_as_null=True)))
    op.add_column("submissions", sa.Column("changed", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE submissions SET changed = number")
    op.create_index("ix_submissions_site_changed", "submissions", ["site_id", "changed"])
    op.create_index("ix_submissions_curator_changed", "submissions", ["curator", "changed"])
