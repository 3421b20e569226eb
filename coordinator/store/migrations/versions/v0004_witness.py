"""The Merkle tree over the audit log, with the events that are there, and which refusals were entered this hour."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from alembic import op

from coordinator.store.tables import Utc
from shared.audit_head import leaf_of
from shared.ids import Sha256
from shared.merkle import Tree

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_EVENTS = sa.table("audit_events", sa.column("number"), sa.column("digest"))
_PAGE = 10_000


def upgrade() -> None:
    """Create both tables and fill the first."""
    subtrees = op.create_table(
        "audit_subtrees",
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_audit_subtrees")),
    )
    op.create_table(
        "refusals",
        sa.Column("caller", sa.String(length=300), nullable=False),
        sa.Column("method", sa.String(length=100), nullable=False),
        sa.Column("hour", Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", "method", name=op.f("pk_refusals")),
    )
    tree = Tree()
    for page in _pages(op.get_bind()):
        whole = [entry for digest in page for entry in tree.append(leaf_of(Sha256(digest)))]
        if whole:
            op.bulk_insert(subtrees, [{**subtree._asdict(), "hash": value} for subtree, value in whole])


def _pages(connection: sa.Connection) -> Iterator[Sequence[str]]:
    """The digests of the events in order."""
    number = _EVENTS.c.number
    last = 0
    while page := connection.execute(
        sa.select(number, _EVENTS.c.digest).where(number > last).order_by(number).limit(_PAGE)
    ).all():
        yield [digest for _, digest in page]
        last = page[-1][0]
