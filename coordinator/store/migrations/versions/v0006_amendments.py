"""Agreements have a next version beside the one in force, versions that were replaced, and attached documents.

Sites keep what they answered to the open call.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("sites", sa.Column("survey", sa.JSON(none_as_null=True)))
    op.add_column("agreements", sa.Column("amendment", sa.JSON(none_as_null=True)))
    op.add_column("agreements", sa.Column("attachment", sa.String(length=64)))
    op.create_table(
        "agreement_versions",
        sa.Column("agreement", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("consent", sa.JSON(), nullable=False),
        sa.Column("execution", sa.JSON(), nullable=False),
        sa.Column("attachment", sa.String(length=64)),
        sa.PrimaryKeyConstraint("agreement", "version", name=op.f("pk_agreement_versions")),
    )
