"""How often who takes part changed, and what a run waits for."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the count, and the column."""
    op.create_table(
        "counts",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counts")),
    )
    op.execute("INSERT INTO counts (name, value) VALUES ('membership', 0)")
    op.add_column("runs", sa.Column("progress", sa.Text(), nullable=False, server_default=""))
