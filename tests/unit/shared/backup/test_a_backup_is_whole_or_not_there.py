"""The file of a backup is whole or not there, and gives back what went in, or nothing."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from threading import Event, Thread

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backup.archive import BackupFacts, Member, unpack_backup, write_backup
from shared.backup.database import copy_sqlite
from shared.backup.restoring import plain_files, restored_folder
from shared.crypto.archive import Compressor
from shared.crypto.recipients import generate_identity
from shared.crypto.sealing import decrypt, seal_writer
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.settings import HomeNotEmpty
from shared.errors.storage import BackupInvalid, DiskFull, HomeFailed
from shared.errors.trust import ClockWrong
from shared.manifest import canonical_json

KEY = generate_identity("x25519")
NOW = datetime(2026, 12, 1, 2, 3, tzinfo=UTC)
FACTS = BackupFacts(
    program="ricord-site", version="0.1.0", schema_version="14", name="123456", fingerprint="SHA256:x", made_at=NOW
)
CONTENT = {"ledger.sqlite": b"\0" * 200_000, "keys/signing.pem": b"key", "receipts/ü.json": b"", "a" * 150: b"x"}


def members(folder: Path, content: dict[str, bytes]) -> list[Member]:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [Member(name, folder / name) for name in content]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A backup of `CONTENT`."""
    file = tmp_path / "backup.age"
    assert write_backup(file, KEY.recipient, FACTS, members(tmp_path / "home", CONTENT)) == len(CONTENT)
    return file


def unpack(file: Path, folder: Path) -> BackupFacts:
    return unpack_backup(file, KEY, folder, lambda facts: None)


@settings(max_examples=20)
@given(content=st.dictionaries(st.from_regex(r"[a-z]{1,9}(/[a-zü]{1,9})?", fullmatch=True), st.binary(max_size=99_999)))
def test_what_goes_in_comes_out(content: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever names and sizes; each file is for its owner only."""
    names = {name: data for name, data in content.items() if not any(f"{name}/" in other for other in content)}
    folder = tmp_path_factory.mktemp("backup")
    write_backup(folder / "file", KEY.recipient, FACTS, members(folder / "home", names))
    assert unpack(folder / "file", folder / "restored") == FACTS
    assert contents(folder / "restored") == names
    modes = {path.stat().st_mode & 0o777 for path in [folder / "file", *(folder / "restored").rglob("*")]}
    assert modes <= {0o600, 0o700}


def test_age_zstd_and_tar_read_it(file: Path) -> None:
    """Its parts are standard formats: the digests in it are those that sha256sum writes."""
    plain = BytesIO()
    with file.open("rb") as source:
        decrypt(KEY, source, plain)
    with tarfile.open(
        fileobj=BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(plain.getvalue()))
    ) as tar:
        names = tar.getnames()
        sums = tar.extractfile("SHA256SUMS")
        assert sums is not None
        assert [line.split("  ")[1] for line in sums.read().decode().splitlines()] == list(CONTENT)
    assert names == ["backup.json", *CONTENT, "SHA256SUMS"]


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=60)
def test_a_damaged_one_gives_nothing(
    place: float, bit: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whichever bit of it was changed, and wherever it was cut."""
    folder = tmp_path_factory.mktemp("backup")
    write_backup(folder / "file", KEY.recipient, FACTS, members(folder / "home", {"a": os.urandom(9_999)}))
    data = bytearray((folder / "file").read_bytes())
    at = int(place * len(data))
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    (folder / "file").write_bytes(data)
    with pytest.raises(BackupInvalid), restored_folder(folder / "restored", "site.toml") as staged:
        unpack(folder / "file", staged)
    assert list((folder / "restored").iterdir()) == []


def sealed(
    file: Path, entries: Mapping[str, bytes] | Sequence[tuple[str, bytes]], kind: bytes = tarfile.REGTYPE
) -> None:
    """An authentic file with whatever members."""
    with file.open("wb") as target:
        sink = Compressor(seal_writer([KEY.recipient], target))
        buffer = BytesIO()
        with tarfile.open(mode="w", fileobj=buffer) as tar:
            for name, data in entries.items() if isinstance(entries, Mapping) else entries:
                info = tarfile.TarInfo(name)
                info.size, info.type = len(data), kind if name == "link" else tarfile.REGTYPE
                info.linkname = "/etc/passwd" if name == "link" else ""
                tar.addfile(info, BytesIO(data))
        sink.write(buffer.getvalue())
        sink.finish()


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "link"])
def test_no_member_leads_out_of_the_home(tmp_path: Path, name: str) -> None:
    """Neither by its name nor as a link."""
    sealed(tmp_path / "file", {"backup.json": canonical_json(FACTS), name: b"", "SHA256SUMS": b""}, tarfile.SYMTYPE)
    with pytest.raises(BackupInvalid):
        unpack(tmp_path / "file", tmp_path / "restored")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"a": b"x"},
        {"backup.json": b"{}"},
        {"backup.json": b"x" * 70_000},
        {"backup.json": canonical_json(FACTS)},
        {"backup.json": canonical_json(FACTS), "a": b"x"},
        {"backup.json": canonical_json(FACTS), "a": b"x", "SHA256SUMS": b""},
        {"backup.json": canonical_json(FACTS), "SHA256SUMS": b"", "a": b"x"},
        [("backup.json", canonical_json(FACTS)), ("a", b"x"), ("a", b"x")],
        {"backup.json": canonical_json(FACTS), "a": b"x", "a/b": b"x"},
    ],
    ids=[
        "empty",
        "no facts",
        "other facts",
        "long facts",
        "no digests",
        "none of one",
        "another digest",
        "more",
        "twice",
        "below a file",
    ],
)
def test_a_foreign_file_gives_nothing(
    tmp_path: Path, entries: Mapping[str, bytes] | Sequence[tuple[str, bytes]]
) -> None:
    """Sealed to the right key, and no backup of ours."""
    sealed(tmp_path / "file", entries)
    with pytest.raises(BackupInvalid):
        unpack(tmp_path / "file", tmp_path / "restored")


def test_another_key_opens_nothing(file: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupInvalid, match="sealed to another key"):
        unpack_backup(file, generate_identity("x25519"), tmp_path / "restored", lambda facts: None)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BackupInvalid, match="header"):
        unpack(tmp_path / "text", tmp_path / "restored")
    with pytest.raises(SourceMissing):
        unpack(tmp_path / "none", tmp_path / "restored")


def test_who_may_restore_it_is_asked_first(file: Path, tmp_path: Path) -> None:
    """Another program's, a newer release's and a later day's backup is refused, before anything is written."""
    FACTS.check(file, "ricord-site", NOW, is_known=True)
    FACTS.check(file, "ricord-site", NOW - timedelta(minutes=59), is_known=True)
    with pytest.raises(BackupInvalid, match="it is of a ricord-site"):
        FACTS.check(file, "ricord-coordinator", NOW, is_known=True)
    with pytest.raises(BackupInvalid, match=r"release 0\.1\.0 made it, which is newer"):
        FACTS.check(file, "ricord-site", NOW, is_known=False)
    with pytest.raises(ClockWrong, match="the backup was made at 2026-12-01"):
        FACTS.check(file, "ricord-site", NOW - timedelta(hours=2), is_known=True)
    with pytest.raises(ClockWrong):
        unpack_backup(
            file,
            KEY,
            tmp_path / "restored",
            lambda facts: facts.check(file, "ricord-site", datetime.min.replace(tzinfo=UTC), is_known=True),
        )
    assert not (tmp_path / "restored").exists()


def test_no_file_is_replaced(file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(InvalidArgument, match="it exists"):
        write_backup(file, KEY.recipient, FACTS, [])
    with pytest.raises(SourceMissing):
        write_backup(tmp_path / "none" / "file", KEY.recipient, FACTS, [])
    assert file.read_bytes() == before


def test_what_vanishes_meanwhile_is_left_out(tmp_path: Path) -> None:
    """And the others are whole."""
    listed = members(tmp_path / "home", {"a": b"x", "b": b"y"})
    assert write_backup(tmp_path / "file", KEY.recipient, FACTS, [Member("gone", tmp_path / "gone"), *listed]) == 2
    unpack(tmp_path / "file", tmp_path / "restored")
    assert contents(tmp_path / "restored") == {"a": b"x", "b": b"y"}


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Neither under its name nor under another; the error names the folder."""
    listed = members(tmp_path / "home", {"a": os.urandom(1 << 20)})
    (tmp_path / "out").mkdir()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr("shared.durable.os.fsync", full)
    else:
        monkeypatch.setattr("shared.crypto.payload.ChunkWriter.write", full)
    with pytest.raises(DiskFull, match="out"):
        write_backup(tmp_path / "out" / "file", KEY.recipient, FACTS, listed)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_kill_leaves_no_file_under_its_name(tmp_path: Path) -> None:
    """SIGKILL in the middle of a member; the next backup is made as if nothing had been."""
    (tmp_path / "home").mkdir()
    os.mkfifo(tmp_path / "home" / "slow")  # a member of which nothing comes: the process waits in it
    script = f"""
from pathlib import Path
from shared.backup.archive import BackupFacts, Member, write_backup
facts = BackupFacts.model_validate_json({canonical_json(FACTS)!r})
folder = Path({str(tmp_path)!r})
def members():
    print("ready", flush=True)
    yield Member("slow", folder / "home" / "slow")
write_backup(folder / "file", {KEY.recipient!r}, facts, members())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        finally:
            process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "file").exists()
    write_backup(tmp_path / "file", KEY.recipient, FACTS, members(tmp_path / "home", {"a": b"x"}))
    unpack(tmp_path / "file", tmp_path / "restored")


def test_a_database_is_copied_as_of_one_moment(tmp_path: Path) -> None:
    """While another connection writes pairs of rows: the copy holds both rows of a pair or none."""
    source, stop = tmp_path / "source.sqlite", Event()
    with closing(sqlite3.connect(source)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table pairs (number integer, side text, filler blob)")
        database.commit()

    def write() -> None:
        with closing(sqlite3.connect(source, timeout=30)) as database:
            number = 0
            while not stop.is_set():
                number += 1
                with database:
                    for side in ("left", "right"):
                        database.execute("insert into pairs values (?, ?, zeroblob(5000))", (number, side))

    writer = Thread(target=write)
    writer.start()
    try:
        for attempt in range(5):
            copy_sqlite(source, tmp_path / f"copy-{attempt}")
            with closing(sqlite3.connect(tmp_path / f"copy-{attempt}")) as copy:
                counts = dict(copy.execute("select side, count(*) from pairs group by side").fetchall())
                assert counts.get("left", 0) == counts.get("right", 0)
                assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
    finally:
        stop.set()
        writer.join()
    with pytest.raises(HomeFailed):
        copy_sqlite(tmp_path / "none", tmp_path / "copy")


def test_only_an_empty_folder_is_restored_into(tmp_path: Path) -> None:
    """What a killed restore left hidden is removed; the settings come last; an error leaves nothing."""
    home = tmp_path / "home"
    (home / ".restored.unfinished").mkdir(parents=True)
    (home / ".restored.unfinished" / "old").touch()

    def fail() -> None:
        with restored_folder(home, "site.toml") as staged:
            assert list(staged.iterdir()) == []
            (staged / "a").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(home.iterdir()) == []
    with restored_folder(home, "site.toml") as staged:
        (staged / "a").mkdir()
        (staged / "site.toml").touch()
    assert sorted(path.name for path in home.iterdir()) == ["a", "site.toml"]
    with pytest.raises(HomeNotEmpty), restored_folder(home, "site.toml"):
        pass


def test_unfinished_and_passing_files_are_left_out(tmp_path: Path) -> None:
    """Hidden ones, those of folders that are named, and what is no file."""
    members(tmp_path, {"spool/a": b"", ".b.tmp": b"", "c/.d.tmp": b"", "c/spool": b"", "c/e": b"", "pulse": b""})
    os.mkfifo(tmp_path / "pipe")
    names = [str(path.relative_to(tmp_path)) for path in plain_files(tmp_path, without=frozenset({"spool", "pulse"}))]
    assert names == ["c/e", "c/spool"]
