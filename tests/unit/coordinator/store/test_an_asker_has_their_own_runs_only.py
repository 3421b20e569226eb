"""Runs and their tables by who asked for them, on every store."""

from coordinator.store.references import Kind
from coordinator.store.sql import SqlStore
from tests.factories.rows import make_cohort, make_run


def test_runs_and_their_tables_are_asked_for_by_who_asked(store: SqlStore) -> None:
    """Whole or by a beginning; for an asker there are no other runs and tables, and for everybody there are all."""
    hers, his = (make_run(n, "proposed").model_copy(update={"actor": a}) for n, a in ((1, "a/rita"), (2, "a/carl")))
    with store.begin() as work:
        for run in (hers, his):
            work.put_run(run)
        for number in (1, 2):
            work.add_cohort(make_cohort(number))
    with store.read() as reading:
        assert reading.runs(actor="a/rita") == reading.runs("proposed", actor="a/rita") == [hers]
        assert reading.runs("declined", actor="a/rita") == reading.runs(actor="a/rita", after=hers) == []
        assert reading.cohorts(asker="a/carl") == [make_cohort(2)]
        assert reading.cohorts(asker="a") == []
        kinds: tuple[Kind, ...] = ("run", "cohort")
        for kind in kinds:
            assert reading.named(kind, his.id, asker="a/rita") == (None, 0)
            assert reading.named(kind, "R-", asker="a/rita") == reading.named(kind, hers.id) == (hers.id, 1)
            assert reading.named(kind, "R-")[1] == 2
