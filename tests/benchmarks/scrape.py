"""What Prometheus asks for each minute costs a node, and a centre, little more than its database needs to count."""

import json
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy import insert

from coordinator.home.init import open_home_store
from coordinator.monitoring.figures import CoordinatorFigures
from coordinator.store import tables
from coordinator.store.rows import plain
from shared.ids import SiteId
from site_node.home.folder import init_home
from site_node.home.free_space import FreeSpace
from site_node.home.ledger import Ledger
from site_node.monitoring.figures import NodeFigures
from site_node.monitoring.watch import Watch
from tests.benchmarks.measure import Row, medians
from tests.factories.federation import make_federation
from tests.factories.rows import make_submission

FEW, MANY = 10_000, 100_000  # studies
SITES = 20
_LEAST = 0.25  # of the rate at which SQLite counts the same rows by itself
_AT = "2026-01-02T03:04:05+00:00"
_STATES = ("submitted",) * 7 + ("excluded", "quarantined", "included")  # of ten studies
_JUDGED = frozenset({"excluded", "quarantined"})
_COUNTED = {
    "node": (
        "select state, reasons, count(*) from studies group by 1, 2",
        "select ending, count(*) from instances group by 1",
        "select state, reasons, count(*) from submissions group by 1, 2",
    ),
    "centre": (
        "select site_id, state, count(*), sum(ciphertext_size) from submissions group by 1, 2",
        "select site_id, max(sequence), count(*) from submissions group by 1",
    ),
}


def rows() -> list[Row]:
    """Scrapes of a node and of a centre, beside the counting alone, and beside a tenth of the studies."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder:
        contestants: dict[str, Callable[[], float | None]] = {}
        for size in (FEW, MANY):
            for kind, make in (("node", _node), ("centre", _centre)):
                figures, file = make(Path(folder) / f"{kind}-{size}", size)
                contestants[f"{kind} {size}"] = partial(_scrape, figures)
                contestants[f"{kind} {size} counts"] = partial(_count, file, _COUNTED[kind])
        seconds = medians(contestants, rounds=7)
    return [
        row
        for kind in ("node", "centre")
        for few, many, counts in [[seconds[f"{kind} {each}"] for each in (FEW, MANY, f"{MANY} counts")]]
        for what in [f"scrape of a {kind} of {MANY:,} studies, {many * 1000:.0f} ms"]
        for row in (
            Row(what, 1 / many, "/s", "SQLite's counting", counts / many, _LEAST),
            Row(what, 1 / many, "/s", f"one of {FEW:,}", few / many),
        )
    ]


def _scrape(figures: Callable[[], Collector]) -> None:
    registry = CollectorRegistry()
    registry.register(figures())
    assert generate_latest(registry)


def _count(file: Path, queries: tuple[str, ...]) -> None:
    with closing(sqlite3.connect(file)) as database:
        for query in queries:
            assert database.execute(query).fetchall()


def _node(folder: Path, size: int) -> tuple[Callable[[], Collector], Path]:
    """A node's home whose ledger has studies of two images, most of them at the centre."""
    home = init_home(folder, name="Measured Hospital")
    reasons = json.dumps([{"code": "age-missing", "message": "It has no age.", "severity": "reject"}])
    states = [(number, f"{number:032x}", _STATES[number % len(_STATES)]) for number in range(size)]
    with closing(Ledger(home.ledger)) as ledger, ledger.changing():
        ledger._db.executemany(
            "insert into studies (key, state, reasons, received_at, changed_at) values (?, ?, ?, ?, ?)",
            [(key, state, reasons if state in _JUDGED else "[]", _AT, _AT) for _, key, state in states],
        )
        ledger._db.executemany(
            "insert into instances values (?, ?, ?, '')",
            [(key, side, state.replace("included", "waiting")) for _, key, state in states for side in "ab"],
        )
        ledger._db.executemany(
            "insert into submissions values (?, ?, 'accepted', '[]', ?, '')",
            [(f"{number:064x}", f"2.25.{number}", number) for number, _, state in states if state == "submitted"],
        )
    return lambda: NodeFigures(home, FreeSpace(home.folder, 1), Watch(home)), home.ledger


def _centre(folder: Path, size: int) -> tuple[Callable[[], Collector], Path]:
    """A centre's home with studies of `SITES` sites."""
    folder.mkdir()
    federation = make_federation(folder)
    store = open_home_store(federation.home, federation.settings)
    like = plain(make_submission(1))
    values = [
        {
            **like,
            "id": f"{number:064x}",
            "contents_sha256": f"{number:064x}",
            "number": number,
            "site_id": str(SiteId(str(100_001 + number % SITES))),
            "sequence": 1 + number // SITES,
        }
        for number in range(1, size + 1)
    ]
    with store.begin() as work:
        work._connection.execute(insert(tables.submissions), values)
    return lambda: CoordinatorFigures(federation.home, store), federation.home.folder / "coordinator.sqlite"
