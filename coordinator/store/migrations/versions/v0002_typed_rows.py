"""What was JSON in `documents` moves: uploads, nodes, runs and cohorts into tables, curators' statements to `members`.

There is no way back: what the new tables hold is not written into `documents` again.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from coordinator.store import tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UTC = tables.Utc(timezone=True)


def upgrade() -> None:
    """Move every document into its table; raises `ValueError` when there is one of another kind."""
    op.add_column("members", sa.Column("statement", sa.JSON(none_as_null=True), nullable=True))
    for row in _moved("curator-statement"):
        member = (_MEMBERS.c.role == "curator") & (_MEMBERS.c.name == row.name)
        op.execute(sa.update(_MEMBERS).where(member).values(statement=json.loads(row.body)))
    for kind, table, row_of in (
        ("arriving", _uploads(), _upload),
        ("node", _nodes(), _node),
        ("run", _runs(), _run),
        ("cohort", _cohorts(), _cohort),
    ):
        op.bulk_insert(table, [row_of(row) for row in _moved(kind)])
    if op.get_bind().execute(sa.select(_DOCUMENTS)).first() is not None:
        raise ValueError("a document of a kind that has no table")
    op.drop_table("documents")


def _moved(kind: str) -> Sequence[Any]:
    rows = op.get_bind().execute(sa.select(_DOCUMENTS).where(_DOCUMENTS.c.kind == kind)).all()
    op.execute(sa.delete(_DOCUMENTS).where(_DOCUMENTS.c.kind == kind))
    return rows


_MEMBERS = sa.table("members", sa.column("role"), sa.column("name"), sa.column("statement", sa.JSON))

_DOCUMENTS = sa.table(
    "documents",
    sa.column("kind", sa.String),
    sa.column("name", sa.String),
    sa.column("state", sa.String),
    sa.column("body", sa.Text),
    sa.column("changed_at", _UTC),
)


def _uploads() -> sa.Table:
    table = op.create_table(
        "uploads",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=6), nullable=False),
        sa.Column("continued_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_site_id"), "uploads", ["site_id"])
    op.create_index(op.f("ix_uploads_continued_at"), "uploads", ["continued_at"])
    return table


def _upload(row: Any) -> dict[str, Any]:
    return {"name": row.name, "site_id": row.state, "continued_at": row.changed_at}


def _nodes() -> sa.Table:
    return op.create_table(
        "nodes",
        sa.Column("site_id", sa.String(length=6), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("registered_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("public_key", name=op.f("uq_nodes_public_key")),
    )


def _node(row: Any) -> dict[str, Any]:
    return {**json.loads(row.body), "registered_at": row.changed_at}


def _runs() -> sa.Table:
    table = op.create_table(
        "runs",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("signed", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=300), nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("started_at", _UTC, nullable=True),
        sa.Column("ended_at", _UTC, nullable=True),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_state"), "runs", ["state"])
    return table


def _run(row: Any) -> dict[str, Any]:
    run = json.loads(row.body)
    moments = {name: _moment(run[name]) for name in ("created_at", "started_at", "ended_at")}
    return {**run, **moments}


def _cohorts() -> sa.Table:
    return op.create_table(
        "cohorts",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("site_count", sa.Integer(), nullable=False),
        sa.Column("computed_at", _UTC, nullable=False),
        sa.Column("table_sha256", sa.String(length=64), nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohorts")),
    )


def _cohort(row: Any) -> dict[str, Any]:
    table = json.loads(row.body)
    return {
        "id": row.name,
        "name": table["definition"]["name"],
        "policy": table["policy"],
        "site_count": table["site_count"],
        "computed_at": _moment(table["computed_at"]),
        "table_sha256": hashlib.sha256(row.body.encode()).hexdigest(),
        "table": row.body,
    }


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
