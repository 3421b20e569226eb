"""The file of a backup is whole or not there, and gives back what went in, or nothing."""

import errno
import gc
import hashlib
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backup.archive import BackupFacts, Member, unpack_backup, write_backup
from shared.backup.restoring import restored_folder
from shared.crypto.recipients import generate_identity
from shared.crypto.sealing import decrypt, seal_writer
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.storage import BackupInvalid, DiskFull
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
    """Whatever names and sizes, with the time of its last change; each file is for its owner only."""
    names = {name: data for name, data in content.items() if not any(f"{name}/" in other for other in content)}
    folder = tmp_path_factory.mktemp("backup")
    listed = members(folder / "home", names)
    for member in listed:
        os.utime(member.source, (1e9, 1e9))
    write_backup(folder / "file", KEY.recipient, FACTS, listed)
    assert unpack(folder / "file", folder / "restored") == FACTS
    assert contents(folder / "restored") == names
    assert {path.stat().st_mtime for path in (folder / "restored").rglob("*") if path.is_file()} <= {1e9}
    modes = {path.stat().st_mode & 0o777 for path in [folder / "file", *(folder / "restored").rglob("*")]}
    assert modes <= {0o600, 0o700}


def test_age_zstd_and_tar_read_it(file: Path) -> None:
    """Its parts are standard formats: the digests in it are those that sha256sum writes."""
    plain = BytesIO()
    with file.open("rb") as source:
        decrypt(KEY, source, plain)
    with tarfile.open(fileobj=BytesIO(zstd.decompress(plain.getvalue()))) as tar:
        names = tar.getnames()
        assert {info.mode for info in tar.getmembers()} == {0o600}
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
    file: Path,
    entries: Mapping[str, bytes] | Sequence[tuple[str, bytes]],
    kind: bytes = tarfile.REGTYPE,
    window: int = 13 << 3,
    cut: Callable[[bytes], bytes] = bytes,
) -> None:
    """An authentic file with whatever members, in a frame that asks for whatever memory (RFC 8878, 3.1.1.1.2)."""
    buffer = BytesIO()
    with tarfile.open(mode="w", fileobj=buffer) as tar:
        for name, data in entries.items() if isinstance(entries, Mapping) else entries:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind if name == "link" else tarfile.REGTYPE
            info.linkname = "/etc/passwd" if name == "link" else ""
            tar.addfile(info, BytesIO(data))
    frame = zstd.ZstdCompressor()
    content = bytearray(frame.compress(buffer.getvalue()) + frame.flush())
    content[5] = window
    with file.open("wb") as target:
        sink = seal_writer([KEY.recipient], target)
        sink.write(cut(bytes(content)))
        sink.finish()


def summed(**content: bytes) -> dict[str, bytes]:
    """A backup's members with their true digests."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in content.items())
    return {"backup.json": canonical_json(FACTS), **content, "SHA256SUMS": "".join(lines).encode()}


@pytest.mark.parametrize("name", ["../out", "{folder}/out", "a/../../out", "link", "a\nb"])
def test_no_member_leads_out_of_the_home(tmp_path: Path, name: str) -> None:
    """Neither by its name, which is one line in the list of digests, nor as a link."""
    name = name.format(folder=tmp_path)
    sealed(tmp_path / "file", summed(**{name: b""}), tarfile.SYMTYPE)
    with pytest.raises(BackupInvalid):
        unpack(tmp_path / "file", tmp_path / "restored")
    assert not (tmp_path / "out").exists()
    assert contents(tmp_path / "restored") == {}


@pytest.mark.parametrize(("size", "valid"), [(1 << 16, True), ((1 << 16) + 1, False)])
def test_facts_are_short(tmp_path: Path, size: int, valid: bool) -> None:
    """What is longer is not read, though its beginning may be true facts."""
    sealed(tmp_path / "file", {**summed(), "backup.json": canonical_json(FACTS).ljust(size)})
    with nullcontext() if valid else pytest.raises(BackupInvalid):
        assert unpack(tmp_path / "file", tmp_path / "restored") == FACTS


@pytest.mark.parametrize(("window", "valid"), [(13 << 3, True), (13 << 3 | 1, False), (14 << 3, False)])
def test_a_frame_asks_for_at_most_8_mib(tmp_path: Path, window: int, valid: bool) -> None:
    """Of memory for what it refers back to; a window is a power of two and eighths of it."""
    sealed(tmp_path / "file", summed(a=b"x"), window=window)
    with nullcontext() if valid else pytest.raises(BackupInvalid):
        unpack(tmp_path / "file", tmp_path / "restored")


@pytest.mark.parametrize(
    "cut",
    [lambda frame: frame[:-1], lambda frame: frame[: 9 + (int.from_bytes(frame[6:9], "little") >> 3)]],
    ids=["its last byte", "all blocks but the first"],
)
def test_a_frame_that_was_sealed_cut_gives_nothing(tmp_path: Path, cut: Callable[[bytes], bytes]) -> None:
    """Though every byte of it is authentic: its end is looked for, and not waited for (RFC 8878, 3.1.1.2)."""
    sealed(tmp_path / "file", summed(a=os.urandom(300_000)), cut=cut)
    with pytest.raises(BackupInvalid):
        unpack(tmp_path / "file", tmp_path / "restored")


def test_no_list_of_members_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while a backup is written nor while it is read: it may have a million."""

    def held() -> int:
        return sum(issubclass(type(each), tarfile.TarInfo) for each in gc.get_objects())

    def listed() -> Iterator[Member]:
        for number in range(20):
            yield Member(str(number), tmp_path / "a")
        most.append(held())

    def restore_time(path: Path, times: tuple[float, float]) -> None:
        if path.name == "19":
            most.append(held())

    before, most = held(), list[int]()
    (tmp_path / "a").touch()
    write_backup(tmp_path / "file", KEY.recipient, FACTS, listed())
    monkeypatch.setattr("shared.backup.archive.os.utime", restore_time)
    unpack(tmp_path / "file", tmp_path / "restored")
    assert len(most) == 2
    assert max(most) - before < 5


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"a": b"x"},
        {"facts.json": canonical_json(FACTS), "SHA256SUMS": b""},
        {"backup.json": b"{}", "SHA256SUMS": b""},
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
        "facts of another name",
        "other facts",
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
    FACTS.check(file, "ricord-site", NOW - timedelta(hours=1), is_known=True)
    with pytest.raises(BackupInvalid, match="it is of a ricord-site"):
        FACTS.check(file, "ricord-coordinator", NOW, is_known=True)
    with pytest.raises(BackupInvalid, match=r"release 0\.1\.0 made it, which is newer"):
        FACTS.check(file, "ricord-site", NOW, is_known=False)
    with pytest.raises(ClockWrong, match="the backup was made at 2026-12-01"):
        FACTS.check(file, "ricord-site", NOW - timedelta(hours=1, microseconds=1), is_known=True)
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
