"""One page of the list of submissions costs about the same among 200,000 studies as among 10,000, in both databases."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from sqlalchemy import insert

from coordinator.store import tables
from coordinator.store.rows import plain
from coordinator.store.sql import SqlStore, open_store
from coordinator.submission.lists import PAGE, SubmissionLists
from shared.ids import SiteId
from tests.benchmarks.measure import Row, medians
from tests.factories.rows import make_submission
from tests.peers import empty_database, postgres_url

FEW, MANY = 10_000, 200_000
SITES = 20
_WORST = 1 / 3  # the least rate among many, as a share of the rate among few
_ROWS_AT_ONCE = 10_000


def rows() -> list[Row]:
    """The operator's last page, one site's last page, and, unpromised, every gap, at both sizes."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder, ExitStack() as stack:
        server = stack.enter_context(postgres_url())
        services: dict[tuple[str, int], SubmissionLists] = {}
        for size in (FEW, MANY):
            for kind, url in (("SQLite", f"sqlite:///{folder}/{size}.sqlite"), ("PostgreSQL", empty_database(server))):
                store = open_store(url)
                stack.callback(store.close)
                _fill(store, size)
                services[kind, size] = SubmissionLists(store)
        contestants: dict[str, Callable[[], float | None]] = {}
        for (kind, size), service in services.items():
            for what, read in _READINGS.items():
                contestants[f"{what}, {kind}, {size}"] = partial(read, service, size)
        seconds = medians(contestants, rounds=5)
    return [
        _row(f"{what}, {kind}", seconds[f"{what}, {kind}, {FEW}"], seconds[f"{what}, {kind}, {MANY}"], promised)
        for kind in ("SQLite", "PostgreSQL")
        for what, promised in (("last page of the list", _WORST), ("a site's last page", _WORST), ("gaps", None))
    ]


def _row(what: str, few: float, many: float, promised: float | None) -> Row:
    return Row(f"{what}, {MANY:,} studies", 1 / many, "/s", f"{FEW:,} studies", few / many, promised)


def _fill(store: SqlStore, size: int) -> None:
    """Studies of `SITES` sites in turn, each site's numbered from 1."""
    like = plain(make_submission(1))
    with store.begin() as work:
        for start in range(1, size + 1, _ROWS_AT_ONCE):
            values = [
                {
                    **like,
                    "id": f"{number:064x}",
                    "contents_sha256": f"{number:064x}",
                    "number": number,
                    "site_id": str(_site(number)),
                    "sequence": 1 + number // SITES,
                }
                for number in range(start, min(start + _ROWS_AT_ONCE, size + 1))
            ]
            work._connection.execute(insert(tables.submissions), values)


def _site(number: int) -> SiteId:
    return SiteId(str(100_001 + number % SITES))


def _last_page(service: SubmissionLists, size: int) -> None:
    assert len(service.page(site="", curator=None, after=size - PAGE, limit=0).rows) == PAGE


def _page_of_site(service: SubmissionLists, size: int) -> None:
    of_site = FEW // SITES - 1
    assert len(service.page(site=_site(1), curator=None, after=size - FEW + SITES, limit=0).rows) == of_site


def _gaps(service: SubmissionLists, size: int) -> None:
    del size
    assert not service.sequence_faults(site="", after="", limit=0)[1]


_READINGS: dict[str, Callable[[SubmissionLists, int], None]] = {
    "last page of the list": _last_page,
    "a site's last page": _page_of_site,
    "gaps": _gaps,
}
