"""What each site sent in a week is counted on either database, each submission in one week."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from coordinator.store.sql import SqlStore, open_store
from coordinator.submission.lists import MOST_WEEKS, SubmissionLists
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId
from tests.factories.rows import NOW, make_submission


def test_submissions_are_counted_between_moments(store: SqlStore) -> None:
    """From the first moment until before the second, by site, with their bytes; no submission is in two weeks."""
    with store.begin() as work:
        for number in range(6):
            site_id = SiteId("123456" if number % 2 else "419639")
            received_at = NOW + timedelta(days=number)
            work.add_submission(make_submission(number, site_id).model_copy(update={"received_at": received_at}))
        size = make_submission(0).ciphertext_size
    with store.read() as reading:
        between = [
            reading.received_between(NOW + timedelta(days=first), NOW + timedelta(days=first + 3))
            for first in (0, 3, 6)
        ]
    assert between == [
        [("123456", 1, size), ("419639", 2, 2 * size)],
        [("123456", 2, 2 * size), ("419639", 1, size)],
        [],
    ]


def test_a_week_begins_on_its_monday(store: SqlStore) -> None:
    """In UTC, whatever the day of the question; the oldest week comes first, and too many are refused."""
    sunday_night = datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC)
    with store.begin() as work:
        for number, moment in enumerate((sunday_night, sunday_night + timedelta(seconds=1))):
            work.add_submission(make_submission(number).model_copy(update={"received_at": moment}))
    for days in range(7):
        lists = SubmissionLists(store, lambda days=days: sunday_night + timedelta(days=days, seconds=1))  # type: ignore[misc] # a clock
        weeks, states, _ = lists.by_week(2)
        assert [f"{monday:%A %Y-%m-%d %H:%M}" for monday in weeks] == [
            "Monday 2026-11-23 00:00",
            "Monday 2026-11-30 00:00",
        ]
        assert [[tally.submissions for tally in tallies] for tallies in weeks.values()] == [[1], [1]]
        assert sum(tally.submissions for tally in states) == 2
    for wrong in (0, MOST_WEEKS + 1):
        with pytest.raises(InvalidArgument):
            SubmissionLists(store).by_week(wrong)


def test_the_weeks_are_counted_from_an_index(tmp_path: Path) -> None:
    """No row of a submission is read."""
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    open_store(url).close()
    query = "explain query plan select site_id, count(*), sum(ciphertext_size) from submissions"
    query += " where received_at >= '2026' and received_at < '2027' group by site_id"
    with create_engine(url).connect() as connection:
        plan = " ".join(row[3] for row in connection.execute(text(query)))
    assert "COVERING INDEX ix_submissions_received" in plan
