"""A ledger of an earlier version loses nothing when it is migrated, however that ends; one of a newer is refused."""

import hashlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.backup import database as copying
from shared.crypto.signing import SigningKey
from shared.errors.settings import LedgerTooNew
from shared.errors.storage import DiskFull
from shared.ids import AgreementId, Sha256, SiteId, StudyKey, Uid
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home import database
from site_node.home.ledger import Ledger
from site_node.home.migrations import STEPS

KEY = StudyKey("0" * 31 + "1")
AT = "2026-01-02T03:04:05.000006+00:00"
UNVERSIONED = """
create table meta (name text primary key, value blob not null) strict;
create table studies (
    key text primary key, state text not null, reasons text not null default '[]', released text not null default '[]',
    sequence integer unique, study text, receipt text, received_at text not null, changed_at text not null
) strict;
create index studies_by_state on studies (state);
create table instances (
    key text not null references studies (key), name text not null, ending text not null, code text not null default '',
    primary key (key, name)
) strict, without rowid;
create table files (token text primary key, ending text not null, code text not null, at text not null)
    strict, without rowid;
create table arrivals (token text primary key, at text not null) strict, without rowid;
create table events (
    number integer primary key autoincrement, at text not null, actor text not null, action text not null,
    key text not null, detail text not null
) strict;
create table patients (token blob primary key, number integer not null unique, link blob,
    flag text not null default '') strict, without rowid;
create table requests (
    id text primary key, state text not null, reason text not null default '', attempts integer not null default 0,
    parts text not null default '[]', made_at text not null, changed_at text not null, not_before text not null
) strict, without rowid;
"""
SALT = b"s" * 32
SNAPSHOT, ACCESSION = "/inbox/export\x005\x006", "0" * 31 + "2"
DIGESTS = [hashlib.sha256(SALT + text.encode()).hexdigest() for text in (SNAPSHOT, ACCESSION)]
ROWS = [
    f"""INSERT INTO "meta" VALUES('salt',X'{SALT.hex()}');""",
    """INSERT INTO "meta" VALUES('secret',X'00FF');""",
    f"""INSERT INTO "studies" VALUES('{KEY}','submitted','[]','["look"]',4,'1.2.3','r.json','{AT}','{AT}');""",
    f"""INSERT INTO "studies" VALUES('{"f" * 32}','received','[]','[]',NULL,NULL,NULL,'{AT}','{AT}');""",
    f"""INSERT INTO "instances" VALUES('{KEY}','a','submitted','');""",
    f"""INSERT INTO "instances" VALUES('{KEY}','b','quarantined','other-bytes');""",
    f"""INSERT INTO "files" VALUES('ab','refused','not-dicom','{AT}');""",
    *(f"""INSERT INTO "arrivals" VALUES('{digest}','{AT}');""" for digest in DIGESTS),
    f"""INSERT INTO "events" VALUES(7,'{AT}','someone','release','{KEY}','because');""",
    """INSERT INTO "patients" VALUES(X'01',3,X'02','');""",
    """INSERT INTO "patients" VALUES(X'03',9,NULL,'flagged');""",
    f"""INSERT INTO "requests" VALUES('L-1','reconciled','',2,'[]','{AT}','{AT}','{AT}');""",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger as releases before the versions left it, with rows in each table."""
    file = tmp_path / "ledger.sqlite"
    db = sqlite3.connect(file)
    db.execute("pragma journal_mode = wal")
    db.executescript(UNVERSIONED + "".join(ROWS))
    db.close()
    return file


def dump(file: Path) -> tuple[int, list[str]]:
    """The ledger's version, and the SQL that would make it anew."""
    db = sqlite3.connect(file)
    try:
        return db.execute("pragma user_version").fetchone()[0], sorted(db.iterdump())
    finally:
        db.close()


def test_nothing_is_lost(file: Path) -> None:
    """Every row is there after the migration, and each question has the answer it had before."""
    Ledger(file).close()
    version, lines = dump(file)
    expected = [
        (line.replace(");", ",NULL,NULL);") if '"studies"' in line else line).replace("arrivals", table)
        for line in ROWS
        for table in ("inbox_entries", "accession_numbers")
    ]
    assert version == len(STEPS)
    assert {line for line in lines if line.startswith("INSERT")} == {
        *expected,
        """INSERT INTO "sqlite_sequence" VALUES('events',7);""",
        """INSERT INTO "instance_totals" VALUES('submitted',1);""",
        """INSERT INTO "instance_totals" VALUES('quarantined',1);""",
    }
    ledger = Ledger(file)
    assert ledger.study(KEY).receipt == "r.json"
    assert ledger.newest_audit_number() == 0  # its receipt is not there
    assert [SNAPSHOT in ledger.inbox_entries, "other" in ledger.inbox_entries] == [True, False]
    assert [ACCESSION in ledger.accession_numbers, "other" in ledger.accession_numbers] == [True, False]
    assert [ledger.number(b"\1"), ledger.number(b"new")] == [3, 10]
    ledger.audit("someone", "release", KEY, "again")
    assert [event.number for event in ledger.events()] == [7, 8]
    ledger.close()


def test_a_copy_of_before_is_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, for its owner only; where there is no room for it nothing is migrated; a new ledger has none."""
    before, kept = dump(file), file.with_name("ledger.sqlite.version-0")

    def full(*_: object) -> None:
        raise DiskFull(folder="here")

    with monkeypatch.context() as patch:
        patch.setattr(copying, "copy_sqlite", full)
        with pytest.raises(DiskFull):
            Ledger(file)
    assert dump(file) == before
    Ledger(file).close()
    assert dump(kept) == before
    assert kept.stat().st_mode & 0o777 == 0o600
    Ledger(file).close()
    Ledger(file.with_name("new.sqlite")).close()
    assert {path.name for path in file.parent.glob("*.sqlite*")} == {"ledger.sqlite", kept.name, "new.sqlite"}
    assert not list(file.parent.glob(".*"))


def test_receipts_are_numbered(file: Path) -> None:
    """The audit number of a receipt that was kept by an earlier release is known after the migration."""
    receipt = Receipt(
        submission=Sha256("1" * 64),
        site_id=SiteId("123456"),
        agreement=AgreementId("A-0123456789ab"),
        agreement_version=1,
        study=Uid("1.2.3"),
        sequence=4,
        contents_sha256=Sha256("2" * 64),
        ciphertext_sha256=Sha256("3" * 64),
        ciphertext_size=5,
        received_at=datetime.now(UTC),
        audit_number=77,
        audit_head=Sha256("4" * 64),
    )
    receipts = file.parent / "receipts"
    receipts.mkdir()
    (receipts / "r.json").write_text(Signed.by(SigningKey.generate(), receipt).model_dump_json())
    with closing(Ledger(file)) as ledger:
        assert ledger.newest_audit_number() == 77
        assert ledger.receipt_numbered(77) == "r.json"


@pytest.mark.parametrize("interrupted", range(len(STEPS)))
def test_a_step_is_taken_whole_or_not_at_all(file: Path, monkeypatch: pytest.MonkeyPatch, interrupted: int) -> None:
    """An interruption at the end of a step leaves the ledger of the version before, and the next opening completes."""

    def interrupt(db: sqlite3.Connection) -> None:
        STEPS[interrupted](db)
        raise OSError("cut short")

    with monkeypatch.context() as patch:
        patch.setattr(database, "STEPS", STEPS[:interrupted])
        database.open_database(file, durable=True).close()
        before = dump(file)
        patch.setattr(database, "STEPS", (*STEPS[:interrupted], interrupt, *STEPS[interrupted + 1 :]))
        with pytest.raises(OSError, match="cut short"):
            Ledger(file)
        assert dump(file) == before
    test_nothing_is_lost(file)


def test_programs_that_open_it_at_once_migrate_it_once(file: Path) -> None:
    """The step is chosen under the write lock."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Ledger.close(Ledger(file)), range(16)))
    test_nothing_is_lost(file)


def test_a_ledger_of_a_newer_version_is_refused_unchanged(file: Path) -> None:
    """An older release would misread it; one sentence says which release to install."""
    db = sqlite3.connect(file)
    db.execute(f"pragma user_version = {len(STEPS) + 1}")
    db.close()
    before = dump(file)
    with pytest.raises(LedgerTooNew) as caught:
        Ledger(file)
    assert "newer release" in caught.value.public
    assert dump(file) == before
