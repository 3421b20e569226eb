"""The site's console over a ledger of 100,000 studies: each page at the server, the first page's bytes, an idle minute.

A page is asked through the whole application, without a socket; the bytes are those of the page and of what it names.
"""

import itertools
import multiprocessing
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.ids import StudyKey
from shared.web.serving import serving
from shared.web.settings import ConsoleSettings
from site_node.console.roles import Role
from site_node.console.site import make_console
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.reasons import reason_for
from tests.benchmarks.measure import Row
from tests.factories.consoles import Browser
from tests.factories.ports import free_port
from tests.factories.site_consoles import Site, add_burned, site_console

STUDIES, WAITING, IMAGES = 100_000, 1_000, 10  # images of each
PAGES = ("/", "/review", "/left", "/audit", "/intake", "/federated", "/agreement", "/clinical")
MOST_SECONDS, MOST_BYTES = 0.1, 120_000
ROUNDS, IDLE_SECONDS = 9, 30.0


def rows() -> list[Row]:
    """The pages, the first page's size, and what waiting costs."""
    with TemporaryDirectory() as folder, site_console(Path(folder) / "home") as site:
        _fill(site.ledger)
        reviewer = site.person(Role.REVIEWER)
        result = []
        for path in PAGES:
            reviewer.open(path)
            times, page = list[float](), ""
            for _ in range(ROUNDS):
                began = time.perf_counter()
                page = reviewer.open(path)
                times.append(time.perf_counter() - began)
            seconds = statistics.median(times)
            what = f"page {path} of {STUDIES:,} studies"
            result.append(Row(what, seconds * 1000, "ms", "100 ms", MOST_SECONDS / seconds, 1.0))
            if path == "/":
                names = re.findall(r'(?:href|src)="(/assets/[^"]+)"', page)
                size = len(page.encode()) + sum(len(reviewer.get(name).content) for name in names)
                result.append(Row("first page, bytes over the wire", size, "bytes", "120 kB", MOST_BYTES / size, 1.0))
        result.append(_decision(site, reviewer))
        settings = ConsoleSettings(port=free_port())
        with serving(make_console(site.home, settings, site.store), settings, site.home.folder):
            time.sleep(1)
            began = time.process_time()
            time.sleep(IDLE_SECONDS)
            used = time.process_time() - began
        result.append(Row("an idle console, of a core", 100 * used / IDLE_SECONDS, "%", "itself", 1.0))
    return result


def _decision(site: Site, reviewer: Browser) -> Row:
    """A decision from the click until it is in the ledger, while a node enters one image after the other."""
    times = list[float]()
    with _busy(site.home):
        for number in range(ROUNDS):
            key = add_burned(site.home, site.ledger, f"decided-{number}")
            match = re.search(r'name="seen" value="([^"]+)"', reviewer.open(f"/review/{key}"))
            assert match is not None
            began = time.perf_counter()
            assert reviewer.send(f"/review/{key}/release", reason="seen", seen=match[1]) == 303
            times.append(time.perf_counter() - began)
    seconds = statistics.median(times)
    return Row("a decision, the node writing", seconds * 1000, "ms", "1 s", 1 / seconds, 1.0)


@contextmanager
def _busy(home: SiteHome) -> Iterator[None]:
    """A process that changes the ledger again and again, each change synced, as a node does that is receiving."""
    node = multiprocessing.get_context("spawn").Process(target=_write, args=(home.ledger,))
    node.start()
    try:
        yield
    finally:
        node.terminate()
        node.join()


def _write(file: Path) -> None:
    with closing(Ledger(file)) as ledger:
        for number in itertools.count(STUDIES):
            ledger.add_study(StudyKey(f"{number:032x}"), ["image"], state=State.RECEIVED)


def _fill(ledger: Ledger) -> None:
    """Studies as after some years: nearly all left, some were excluded, and a thousand wait for a person."""
    held = f"[{reason_for('burned-in-text').model_dump_json()}]"
    at = "2026-01-01T00:00:00+00:00"
    with ledger.changing():
        ledger._db.executemany(
            "insert into studies (key, state, reasons, received_at, changed_at, audit_number) values (?,?,?,?,?,?)",
            (
                (f"{n:032x}", "quarantined", held, at, at, None)
                if n < WAITING
                else (f"{n:032x}", "submitted", "[]", at, at, n)
                for n in range(STUDIES)
            ),
        )
        ledger._db.executemany(
            "insert into instances values (?, ?, ?, '')",
            (
                (f"{n:032x}", f"{image:x}", "quarantined" if n < WAITING else "submitted")
                for n in range(STUDIES)
                for image in range(IMAGES)
            ),
        )
        ledger._db.executemany(
            "insert into submissions values (?, ?, 'accepted', '[]', ?, '')",
            ((f"{n:064x}", f"2.25.{n}", n) for n in range(WAITING, STUDIES)),
        )
        ledger.requests.add([f"list-{n}" for n in range(STUDIES)])
        part = '[{"key": "%032x", "announced": 10, "arrived": 10, "failed": 0, "reason": ""}]'
        ledger._db.executemany(
            "update requests set state = 'reconciled', parts = ? where id = ?",
            ((part % n, f"list-{n}") for n in range(STUDIES)),
        )
        for n in range(WAITING):
            ledger.audit("Ann", "release", f"{n:032x}", "a side marker")  # type: ignore[arg-type] # as it is kept
