"""The latest report of each site's node."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NUMBERS = ("received", "waiting", "quarantined", "excluded", "refused", "submitted", "queued", "free_bytes")


def upgrade() -> None:
    """Add the table; no site has reported yet."""
    op.create_table(
        "presences",
        sa.Column("site_id", sa.String(length=6), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        sa.Column("certificate_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_presences")),
    )
