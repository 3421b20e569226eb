"""A backup of a busy centre, and the upgrade of a ledger: their time, their memory, and what uploads notice of them."""

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select

from coordinator.home.init import open_home_store
from coordinator.store import tables
from coordinator.store.folder import CiphertextFolder
from coordinator.submission.service import SubmissionService
from shared.crypto.recipients import generate_identity
from shared.signed import of_manifest
from site_node.home.ledger import Ledger
from tests.benchmarks.measure import Row
from tests.factories.federation import make_federation, sealed_bytes

STUDIES = int(os.environ.get("BACKUP_STUDIES", "100000"))  # 1000000: the goal, 9 GB beside each other and minutes
FEW, MANY = 10_000, 100_000  # studies of the ledgers that are upgraded
_LEAST = 0.2  # of the uploads without a backup, beside one, on two cores that both need
_MEMORY = 0.5  # of ten times as many studies no more than twice the memory
_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
{work}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([time.perf_counter() - start, peak]))
"""
_UPGRADE = "from site_node.home.ledger import Ledger; Ledger(Path({file!r})).close()"
_BACKUP = (
    "from coordinator.backup.backup import back_up; from coordinator.home.settings import Home;"
    " back_up(Home(Path({home!r})), Path({file!r}), {recipient!r})"
)


def rows() -> list[Row]:
    """Uploads beside a backup and without it; the upgrade of a home of many studies, and of few."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder:
        return [*_backup(Path(folder)), *_upgrade(Path(folder))]


def _backup(folder: Path) -> Iterator[Row]:
    federation = make_federation(folder)
    with federation.serving():
        federation.curator()
        home, member = federation.site("Measured Hospital")
    store = open_home_store(federation.home, federation.settings)
    service = SubmissionService(store, CiphertextFolder(federation.home.folder / "blobs"), federation.identity)
    received, stop = list[float](), threading.Event()

    def receive() -> None:
        while not stop.is_set():
            sealed = sealed_bytes(home, member, 1000, sequence=len(received) + 1)
            list(service.receive(member.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
            sealed.ciphertext.unlink()
            received.append(time.perf_counter())

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        time.sleep(1)
        _fill(store._engine, STUDIES)
        start, count = time.perf_counter(), len(received)
        time.sleep(10)
        before = (len(received) - count) / (time.perf_counter() - start)
        values = {
            "home": str(federation.home.folder),
            "file": str(folder / "b.age"),
            "recipient": generate_identity().recipient,
        }
        start, count = time.perf_counter(), len(received)
        seconds, peak = _measured(_BACKUP.format(**values))
        during = (len(received) - count) / (time.perf_counter() - start)
    finally:
        stop.set()
        thread.join()
        store.close()
    size, written = (path.stat().st_size for path in (federation.home.folder / "coordinator.sqlite", folder / "b.age"))
    yield Row(f"uploads beside a backup of {STUDIES:,} studies", during, "/s", "without it", during / before, _LEAST)
    yield Row(
        f"backup of {STUDIES:,} studies, {seconds:.0f} s",
        STUDIES / seconds,
        "/s",
        "its database's size",
        written / size,
    )
    yield Row("memory of that backup", peak / 1024, "MB", "its database's size", peak * 1024 / size)


def _fill(engine: Engine, count: int) -> None:
    """As many more rows, which differ from the first in what differs between studies, signatures and digests too."""
    with engine.connect() as connection:
        first = dict(connection.execute(select(tables.submissions).limit(1)).mappings().one())
    for start in range(0, count, 5000):
        rows = [_another(first, number) for number in range(start, min(start + 5000, count))]
        with engine.begin() as connection:
            connection.execute(insert(tables.submissions), rows)


def _another(first: Mapping[str, Any], number: int) -> dict[str, Any]:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    documents = {
        name: {
            "document": first[name]["document"].replace(first["contents_sha256"], digest),
            "signature": base64.b64encode(os.urandom(64)).decode(),
        }
        for name in ("manifest", "receipt")
    }
    numbers = {"number": 10**9 + number, "sequence": 10**9 + number}
    names = {"id": digest[::-1], "study": f"2.25.{int(digest[:30], 16)}", "contents_sha256": digest}
    return {**first, **documents, **numbers, **names}


def _upgrade(folder: Path) -> Iterator[Row]:
    measured = {}
    for count in (FEW, MANY):
        home = folder / f"site-{count}"
        home.mkdir()
        _first_ledger(home, count)
        measured[count] = _measured(_UPGRADE.format(file=str(home / "ledger.sqlite")))
        with_all = Ledger(home / "ledger.sqlite")
        assert sum(with_all.state_counts().values()) == count
        with_all.close()
    (few, less), (many, more) = measured[FEW], measured[MANY]
    ratio = (few / FEW) / (many / MANY)
    yield Row(f"upgrade of a home of {MANY:,} studies, {many:.1f} s", MANY / many, "/s", f"one of {FEW:,}", ratio)
    yield Row("memory of that upgrade", more / 1024, "MB", f"one of {FEW:,}", less / more, _MEMORY)


def _first_ledger(home: Path, count: int) -> None:
    """A ledger of before the versions, each study submitted, with two images, a patient and its receipt."""
    from tests.unit.site_node.home.test_a_ledger_of_today_is_migrated_whole import AT, SALT, UNVERSIONED

    (home / "receipts").mkdir()
    receipt = json.dumps({"document": json.dumps({"filler": "x" * 700}), "signature": "c2ln"})
    with sqlite3.connect(home / "ledger.sqlite") as db:
        db.executescript(UNVERSIONED)
        db.execute("insert into meta values ('salt', ?)", (SALT,))
        keys = [f"{n:032x}" for n in range(count)]
        row = "insert into studies values (?, 'submitted', '[]', '[]', ?, ?, ?, ?, ?)"
        db.executemany(row, [(key, n, f"2.25.{n}", f"{key}.json", AT, AT) for n, key in enumerate(keys)])
        images = [(key, f"{side}{key}") for key in keys for side in "ab"]
        db.executemany("insert into instances values (?, ?, 'submitted', '')", images)
        patients = [(n.to_bytes(32, "big"), n + 1, bytes(120)) for n in range(count)]
        db.executemany("insert into patients values (?, ?, ?, '')", patients)
    db.close()
    for key in keys:
        (home / "receipts" / f"{key}.json").write_text(receipt)


def _measured(work: str) -> tuple[float, int]:
    """Seconds, and kilobytes at most, of a program of its own that does the work."""
    command = [sys.executable, "-c", _PROGRAM.format(work=work)]
    seconds, peak = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return float(seconds), int(peak)
