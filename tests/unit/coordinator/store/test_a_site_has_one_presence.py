"""A site's latest report replaces the one before, in both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from coordinator.store.records import Presence
from coordinator.store.sql import SqlStore
from shared.frozen import LARGEST_NUMBER
from shared.ids import SiteId
from tests.factories.rows import NOW, SITE_ID

_COUNTS = ("received", "waiting", "quarantined", "excluded", "refused", "submitted", "queued", "free_bytes")


def make_presence(number: int) -> Presence:
    return Presence.model_validate(
        {
            **dict.fromkeys(_COUNTS, number),
            "site_id": SITE_ID,
            "reported_at": NOW + timedelta(minutes=number % 7),
            "version": "0.1.0",
            "certificate_ends_at": NOW,
        }
    )


def test_the_latest_report_is_read_back_equal(store: SqlStore) -> None:
    """At its bounds too; another site's is another row."""
    for number in (0, 5, LARGEST_NUMBER):
        report = make_presence(number)
        with store.begin() as work:
            work.put_presence(report)
        with store.read() as reading:
            assert reading.presence(SITE_ID) == report
            assert reading.presence(SiteId("100001")) is None


def test_two_nodes_with_one_identity_replace_each_other(store: SqlStore) -> None:
    """Also with the first report of either, at the same moment."""

    def report(number: int) -> None:
        for _ in range(10):
            with store.begin(passing=True) as work:
                work.put_presence(make_presence(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(report, range(4)))
    with store.read() as reading:
        assert reading.presence(SITE_ID) in [make_presence(number) for number in range(4)]


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_report_waits_for_no_change_on_postgresql(store: SqlStore) -> None:
    """An upload that commits, or a long change, does not hold reports up."""
    with store.begin(), store.begin(passing=True) as work:
        work.put_presence(make_presence(1))
    with store.read() as reading:
        assert reading.presence(SITE_ID) == make_presence(1)
