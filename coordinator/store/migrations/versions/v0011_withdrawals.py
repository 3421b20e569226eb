"""Tombstones of what was withdrawn."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "withdrawals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=6), nullable=False),
        sa.Column("study", sa.String(length=64), nullable=False),
        sa.Column("curator", sa.String(length=200), nullable=False),
        sa.Column("by", sa.String(length=20), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("ciphertext", sa.String(length=64), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deletion", sa.JSON(none_as_null=True)),
        sa.Column("purge", sa.JSON(none_as_null=True)),
        sa.Column("allowed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_withdrawals")),
    )
    op.create_index("ix_withdrawals_study", "withdrawals", ["site_id", "study"])
    op.create_index("ix_withdrawals_curator", "withdrawals", ["curator", "number"])
