"""A site's latest report replaces the one before, in both databases."""

from datetime import timedelta

from coordinator.store.records import Presence
from coordinator.store.sql import SqlStore
from shared.frozen import LARGEST_NUMBER
from shared.ids import SiteId
from tests.factories.rows import NOW, SITE_ID

_COUNTS = ("received", "waiting", "quarantined", "excluded", "refused", "submitted", "queued", "free_bytes")


def test_the_latest_report_is_read_back_equal(store: SqlStore) -> None:
    """At its bounds too; another site's is another row."""
    reports = [
        Presence.model_validate(
            {
                **dict.fromkeys(_COUNTS, number),
                "site_id": SITE_ID,
                "reported_at": NOW + timedelta(minutes=number % 7),
                "version": "0.1.0",
                "certificate_ends_at": NOW,
            }
        )
        for number in (0, 5, LARGEST_NUMBER)
    ]
    for report in reports:
        with store.begin() as work:
            work.put_presence(report)
        with store.read() as reading:
            assert reading.presence(SITE_ID) == report
            assert reading.presence(SiteId("100001")) is None
