"""The centre's console over a running coordinator with 100,000 submissions of 200 sites: each page, socket and all."""

import re
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import insert

from coordinator.console.roles import Role
from coordinator.home.init import open_home_store
from coordinator.store import tables
from coordinator.store.rows import plain
from shared.ids import SiteId
from tests.benchmarks.console import MOST_BYTES, MOST_SECONDS, ROUNDS
from tests.benchmarks.measure import Row
from tests.factories.centre_consoles import console_of
from tests.factories.federation import Federation, running_federation
from tests.factories.rows import make_submission

STUDIES, SITES, EVENTS = 100_000, 200, 100_000
PAGES = ("/", "/agreements", "/submissions", "/cohorts", "/runs", "/audit")


def rows() -> list[Row]:
    """The pages, and the first page's size."""
    with TemporaryDirectory() as folder, running_federation(Path(folder)) as federation:
        _fill(federation)
        with console_of(federation.home.folder) as console:
            viewer, result = console.person(Role.VIEWER), list[Row]()
            for path in PAGES:
                times, page = list[float](), ""
                for _ in range(ROUNDS):
                    began = time.perf_counter()
                    page = viewer.open(path)
                    times.append(time.perf_counter() - began)
                seconds = statistics.median(times)
                what = f"centre's page {path}, {STUDIES:,} submissions"
                result.append(Row(what, seconds * 1000, "ms", "100 ms", MOST_SECONDS / seconds, 1.0))
                if path == "/":
                    names = re.findall(r'(?:href|src)="(/assets/[^"]+)"', page)
                    size = len(page.encode()) + sum(len(viewer.get(name).content) for name in names)
                    result.append(Row("its first page over the wire", size, "bytes", "120 kB", MOST_BYTES / size, 1.0))
    return result


def _fill(federation: Federation) -> None:
    """Sites with agreements, submissions of a year, and a log."""
    store, now = open_home_store(federation.home, federation.settings), datetime.now(UTC)
    like = plain(make_submission(1))
    values = [
        {
            **like,
            "id": f"{number:064x}",
            "contents_sha256": f"{number:064x}",
            "number": number,
            "site_id": str(SiteId(str(100_001 + number % SITES))),
            "sequence": 1 + number // SITES,
            "received_at": now - timedelta(minutes=5 * number),
        }
        for number in range(1, STUDIES + 1)
    ]
    for number in range(SITES):
        federation.invite(f"Hospital {number}")
    with store.begin() as work:
        work._connection.execute(insert(tables.submissions), values)
        for number in range(EVENTS):
            work.append_event(at=now, actor="a", action="tested", about=str(number))
    store.close()
