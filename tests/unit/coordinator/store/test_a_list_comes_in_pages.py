"""Submissions are read a page at a time, and the pages make the whole, in both databases."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, Table, create_engine

from coordinator.store import sql, tables
from coordinator.store.paging import read_page
from coordinator.store.records import Agreement, Run, Site, Withdrawal
from coordinator.store.rows import plain
from coordinator.store.sql import SqlStore, open_store
from shared.agreement import State
from shared.ids import AgreementId, SiteId
from shared.signed import Signed
from shared.submission_state import SubmissionState
from tests.factories.rows import AGREEMENT, NOW, make_run, make_submission

NEWER = ("number", "curator", "state", "decision", "changed")  # than the second schema


def test_a_list_that_names_no_beginning_has_the_first(store: SqlStore) -> None:
    """Of whatever is numbered."""
    submission = make_submission(1)
    withdrawal = Withdrawal(
        **submission.model_dump(include={"number", "site_id", "study", "curator"}),
        submission=submission.id,
        by="site",
        instances=(),
        ciphertext=submission.ciphertext_sha256,
        withdrawn_at=NOW,
    )
    with store.begin() as work:
        event = work.append_event(at=NOW, actor="a", action="b", about="c")
        work.add_submission(submission)
        work.put_withdrawal(withdrawal)
        assert (work.events(), work.submissions(), work.withdrawals()) == ([event], [submission], [withdrawal])


def test_submissions_are_read_in_pages_that_make_the_whole(store: SqlStore) -> None:
    """In the order of arrival or of the last change, whatever the sequence numbers; of all, one site, one curator."""
    rows = [
        make_submission(number, SiteId(f"{1 + number % 3}00001")).model_copy(
            update={"sequence": 50 - number, "changed": 99 - number, "curator": "other" if number % 2 else "curator"}
        )
        for number in range(1, 30)
    ]
    with store.begin() as work:
        for row in reversed(rows):
            work.add_submission(row)
    with store.read() as reading:
        for site_id, curator in product((None, SiteId("100001")), (None, "other", "nobody")):
            after, listed = 0, list[str]()
            while page := reading.listed_submissions(site_id=site_id, curator=curator, after=after, limit=4):
                listed += [row.id for row in page]
                after = page[-1].number
            wanted = [row.id for row in rows if site_id in (None, row.site_id) and curator in (None, row.curator)]
            assert listed == wanted
            after, listed = 0, []
            while page := reading.listed_submissions(
                site_id=site_id, curator=curator, after=after, limit=4, by_change=True
            ):
                listed += [row.id for row in page]
                after = page[-1].changed
            assert listed == wanted[::-1]
        assert reading.submissions(after=7, limit=3) == rows[7:10]
        [first] = reading.listed_submissions(site_id=None, curator=None, after=0, limit=1)
        expected = rows[0].model_copy(update={"manifest": Signed.model_validate_json(first.manifest)})
        assert expected == rows[0]
        assert all(getattr(rows[0], name) == getattr(first, name) for name in first._fields[:-2])
        assert first.decision is None
        decided = rows[0].model_copy(
            update={"state": SubmissionState.REJECTED, "decision": Signed.model_validate_json(first.manifest)}
        )
    with store.begin() as work:
        work.put_submission(decided)
    with store.read() as reading:
        assert reading.submission(decided.id) == decided
        [first] = reading.listed_submissions(site_id=None, curator=None, after=0, limit=1)
        assert Signed.model_validate_json(first.decision or "") == decided.decision


def test_submissions_of_an_older_store_get_number_and_curator(url: str) -> None:
    """From the event of their arrival and from their agreement; a row without them is listed first."""
    engine = create_engine(url)
    with engine.begin() as connection:
        sql._migrate(connection, "0002")
        kept = [column for column in tables.submissions.columns if column.name not in NEWER]
        older = Table("submissions", MetaData(), *(Column(column.name, column.type) for column in kept))
        old = {column.name: plain(make_submission(1))[column.name] for column in kept}
        for number in (1, 2, 3):
            changed = {"id": f"{number:064x}", "contents_sha256": f"{number:064x}"}
            if number == 3:
                changed["agreement"] = "A-000000000000"
            connection.execute(older.insert().values({**old, **changed}))
        terms = '{"curator":{"name":"anna"}}'
        connection.execute(
            tables.agreements.insert().values(
                id=AGREEMENT, site_name="x", state="executed", version=1, terms=terms, changed_at=NOW
            )
        )
        events = [(1, "site invited", "x"), (2, "study received", f"{2:064x}"), (3, "study received", f"{1:064x}")]
        for event_number, action, about in events:
            event = {"number": event_number, "at": NOW, "actor": "a", "action": action, "object": about}
            connection.execute(tables.events.insert().values(**event, result="done", digest="0" * 64))
    engine.dispose()
    opened = open_store(url)
    with opened.read() as reading:
        listed = reading.submissions()
    assert [(row.id[-1], row.number, row.curator, row.changed) for row in listed] == [
        ("3", 0, "", 0),
        ("2", 2, "anna", 2),
        ("1", 3, "anna", 3),
    ]
    assert {row.state for row in listed} == {SubmissionState.RECEIVED}
    opened.close()


def test_sites_agreements_and_runs_are_read_in_pages_that_make_the_whole(store: SqlStore) -> None:
    """By name, and runs by their beginning, however many began at one moment."""
    names = sorted(f"Hospital {letter}" for letter in "acbdefghi")
    runs = [make_run(number).model_copy(update={"created_at": NOW}) for number in range(5)]
    runs += [make_run(number) for number in range(5, 9)]
    with store.begin() as work:
        for number, name in enumerate(names):
            agreement = AgreementId(f"A-{number:012x}")
            work.put_site(Site(name=name, agreement=agreement, recorded_at=NOW))
            work.put_agreement(Agreement(id=agreement, site_name=name, state=State.INVITED, changed_at=NOW))
        for run in reversed(runs):
            work.put_run(run)
    with store.read() as reading:
        for size in (1, 2, 4, 9, 20):
            sites, agreements, pages = list[str](), list[str](), list[Run]()
            while site_page := reading.sites(after=sites[-1] if sites else "", limit=size):
                sites += [site.name for site in site_page]
            while page := reading.agreements(after=agreements[-1] if agreements else "", limit=size):
                agreements += [agreement.site_name for agreement in page]
            while run_page := reading.runs(after=pages[-1] if pages else None, limit=size):
                pages += run_page
            assert (sites, agreements, pages) == (names, names, runs)
        assert reading.runs("pending", after=runs[2]) == reading.runs("pending")[3:]


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12))
def test_a_page_is_never_longer_than_its_bound(rows: int, limit: int, most: int) -> None:
    """And says whether there is more; without a limit it is as long as a page may be."""
    page, more = read_page(lambda size: range(rows)[:size], limit, most)
    assert len(page) == min(rows, most, limit or most)
    assert more is (len(page) < rows)
