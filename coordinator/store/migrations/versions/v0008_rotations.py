"""Keys that a curator gave up."""

import sqlalchemy as sa
from alembic import op

from coordinator.store import tables

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add their table."""
    op.create_table(
        "rotations",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("verify_key", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("signed", sa.JSON(), nullable=False),
        sa.Column("rotated_at", tables.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "verify_key", name=op.f("pk_rotations")),
    )
