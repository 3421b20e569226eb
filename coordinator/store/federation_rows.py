"""The rows of federated work: nodes, runs, released tables, and who takes part; see `interface.Work`."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, delete, func, or_, select, update

from coordinator.store import tables
from coordinator.store.records import Cohort, Node, PooledCounts, Run, RunState
from coordinator.store.rows import Rows
from shared.federation.plan import Purpose

_MEMBERSHIP = select(tables.counts.c.value).where(tables.counts.c.name == "membership")
_COUNT_MEMBERSHIP = (
    update(tables.counts).where(tables.counts.c.name == "membership").values(value=tables.counts.c.value + 1)
)


def asked_by(asker: str | None, run: Column[Any]) -> tuple[ColumnElement[bool], ...]:
    """The condition that a run, by the column of its id, is one that `asker` asked for; none for everybody's."""
    return () if asker is None else (run.in_(select(tables.runs.c.id).where(tables.runs.c.actor == asker)),)


class FederationRows(Rows):
    """What a transaction reads and writes of federated work."""

    def membership(self) -> int:
        """By its name."""
        return int(self._connection.execute(_MEMBERSHIP).scalar_one())

    def _count_membership(self) -> None:
        self._connection.execute(_COUNT_MEMBERSHIP)

    def nodes(self) -> Sequence[Node]:
        """By SITEID."""
        return self._all(Node, tables.nodes, order=tables.nodes.c.site_id)

    def node_with(self, public_key: str) -> Node | None:
        """By key."""
        return self._get(Node, tables.nodes, public_key=public_key)

    def put_node(self, node: Node) -> None:
        """Add or replace."""
        self._put(tables.nodes, node)
        self._count_membership()

    def delete_node(self, site_id: str) -> None:
        """By SITEID."""
        self._connection.execute(delete(tables.nodes).where(tables.nodes.c.site_id == str(site_id)))
        self._count_membership()

    def run(self, run_id: str) -> Run | None:
        """By id."""
        return self._get(Run, tables.runs, id=run_id)

    def runs(
        self,
        *states: RunState,
        purpose: Purpose | None = None,
        actor: str | None = None,
        after: Run | None = None,
        limit: int | None = None,
    ) -> Sequence[Run]:
        """By state."""
        row, conditions = tables.runs.c, list[ColumnElement[bool]]()
        if states:
            conditions.append(row.state.in_(states))
        if purpose is not None:
            conditions.append(row.plan["purpose"].as_string() == purpose)
        if actor is not None:
            conditions.append(row.actor == actor)
        if after is not None:
            at_once = and_(row.created_at == after.created_at, row.id > str(after.id))
            conditions.append(or_(row.created_at > after.created_at, at_once))
        return self._all(Run, tables.runs, *conditions, order=(row.created_at, row.id), limit=limit)

    def run_tally(self) -> Mapping[RunState, int]:
        """From an index alone."""
        row = tables.runs.c
        counted = self._connection.execute(select(row.state, func.count()).group_by(row.state))
        return {state: int(count) for state, count in counted}

    def put_run(self, run: Run) -> None:
        """Add or replace."""
        self._put(tables.runs, run)

    def cohort(self, run_id: str) -> Cohort | None:
        """By id."""
        return self._get(Cohort, tables.cohorts, id=run_id)

    def cohorts(self, *, asker: str | None = None) -> Sequence[Cohort]:
        """The oldest first."""
        row = tables.cohorts.c
        return self._all(Cohort, tables.cohorts, *asked_by(asker, row.id), order=(row.computed_at, row.id))

    def add_cohort(self, cohort: Cohort) -> None:
        """Add it."""
        self._add(tables.cohorts, cohort)

    def pooled_counts(self, name: str) -> Sequence[PooledCounts]:
        """By cohort."""
        row = tables.pooled_counts.c
        return self._all(PooledCounts, tables.pooled_counts, row.name == name, order=(row.id,))

    def add_pooled_counts(self, pooled: PooledCounts) -> None:
        """Add them."""
        self._add(tables.pooled_counts, pooled)
