"""Submissions know the number of their arrival and their curator, so that a list is read a page at a time.

An arrival that no audit event names keeps number 0, and a curator that no agreement names stays empty: the row is
listed first, and only to the operator.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SUBMISSIONS = sa.table(
    "submissions", sa.column("id"), sa.column("agreement"), sa.column("number"), sa.column("curator")
)
_EVENTS = sa.table("audit_events", sa.column("number"), sa.column("action"), sa.column("object"))
_AGREEMENTS = sa.table("agreements", sa.column("id"), sa.column("terms"))


def upgrade() -> None:
    """Add both columns and fill them."""
    op.add_column("submissions", sa.Column("number", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("submissions", sa.Column("curator", sa.String(length=200), nullable=False, server_default=""))
    connection = op.get_bind()
    arrivals = sa.select(_EVENTS.c.object, _EVENTS.c.number).where(_EVENTS.c.action == "study received")
    numbers = [{"row": row.object, "value": row.number} for row in connection.execute(arrivals)]
    curators = [
        {"row": row.id, "value": json.loads(row.terms)["curator"]["name"]}
        for row in connection.execute(sa.select(_AGREEMENTS).where(_AGREEMENTS.c.terms.is_not(None)))
    ]
    row: sa.BindParameter[str] = sa.bindparam("row")
    value: sa.BindParameter[object] = sa.bindparam("value")
    if numbers:
        connection.execute(sa.update(_SUBMISSIONS).where(_SUBMISSIONS.c.id == row).values(number=value), numbers)
    if curators:
        connection.execute(
            sa.update(_SUBMISSIONS).where(_SUBMISSIONS.c.agreement == row).values(curator=value), curators
        )
    op.create_index(op.f("ix_submissions_number"), "submissions", ["number"])
    op.create_index("ix_submissions_site_number", "submissions", ["site_id", "number"])
    op.create_index("ix_submissions_curator_number", "submissions", ["curator", "number"])
