"""Whom an agreement's site seals to, and when a token was revoked."""

import json

import sqlalchemy as sa
from alembic import op

from coordinator.store import tables

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Curators follow from the terms; which of the tokens that are over were revoked is not known."""
    op.add_column("tokens", sa.Column("revoked_at", tables.Utc(timezone=True)))
    op.add_column("agreements", sa.Column("curator", sa.String(length=200)))
    op.create_index("ix_agreements_curator", "agreements", ["curator", "site_name"])
    rows = sa.table("agreements", sa.column("id"), sa.column("terms"), sa.column("curator"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(rows.c.id, rows.c.terms).where(rows.c.terms.is_not(None))).all():
        name = json.loads(row.terms)["curator"]["name"]
        connection.execute(rows.update().where(rows.c.id == row.id).values(curator=name))
