"""An instance from the network is durable, replaces its own copy, and is never lost between two processes."""

import math
import os
import shutil
import stat
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from shared.errors.storage import DiskFull
from site_node.network.arrivals import Arrivals, last_arrivals
from tests.factories.pacs import key_of


def files(arrivals: Arrivals) -> list[Path]:
    return sorted(path for path in arrivals.folder.rglob("*.dcm"))


def test_an_instance_that_comes_twice_is_there_once(tmp_path: Path) -> None:
    """The same bytes replace themselves; other bytes under the same UID lie beside them, and still count once."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    for content in (b"one", b"one", b"other"):
        arrivals.store("1.2", "1.2.3", content)
    assert sorted(path.read_bytes() for path in files(arrivals)) == [b"one", b"other"]
    assert arrivals.count("1.2") == 1
    assert arrivals.has("1.2", "1.2.3")
    assert not arrivals.has("1.2", "1.2.4")


def test_no_name_says_whose_it_is(tmp_path: Path) -> None:
    """Neither UID is in a path, and nobody else can read the file."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    arrivals.store("1.2.99", "1.2.3.77", b"content")
    (file,) = files(arrivals)
    assert not any(uid in str(file.relative_to(tmp_path)) for uid in ("1.2.99", "1.2.3.77"))
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_is_durable_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are synced before the rename, and the folder after it: only this order makes an answer true."""
    order: list[str] = []
    sync, replace = os.fsync, Path.replace

    def syncing(handle: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def replacing(self: Path, target: Path) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    Arrivals(tmp_path / "arrivals", key_of).store("1.2", "1.2.3", b"content")
    assert order == ["file", "rename", "folder"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file remains, whole or half-written."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)

    def full(handle: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        arrivals.store("1.2", "1.2.3", b"content")
    assert [path for path in arrivals.folder.rglob("*") if path.is_file()] == []


def test_nothing_is_lost_while_studies_are_set_aside(tmp_path: Path) -> None:
    """Four senders store 400 instances while another thread sets the study aside repeatedly: all 400 are there."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    done = threading.Event()

    def send(sender: int) -> None:
        for number in range(100):
            arrivals.store("1.2", f"1.2.3.{sender}.{number}", f"{sender} {number}".encode())

    def set_aside() -> None:
        while not done.is_set():
            for key in arrivals.quiet_studies(0):
                arrivals.set_aside(key)

    senders = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    receiver = threading.Thread(target=set_aside)
    for thread in (*senders, receiver):
        thread.start()
    for thread in senders:
        thread.join()
    done.set()
    receiver.join()
    assert len({path.read_bytes() for path in files(arrivals)}) == 400
    assert {key for key, _ in arrivals.set_aside_folders()} == {key_of("1.2")}


def test_only_a_quiet_study_is_received(tmp_path: Path) -> None:
    """A study that got an instance a moment ago waits."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    arrivals.store("1.2", "1.2.3", b"content")
    arrivals.store("1.9", "1.9.3", b"content")
    long_ago = time.time() - 60
    os.utime(arrivals.folder / key_of("1.9"), (long_ago, long_ago))
    assert list(arrivals.quiet_studies(30)) == [key_of("1.9")]
    assert arrivals.seconds_since_arrival("1.9") > 59 > arrivals.seconds_since_arrival("1.2")


def test_only_their_owner_looks_into_any_folder(tmp_path: Path) -> None:
    """Of what arrived, and of what is being written; also after a start that cleared what was left of that."""
    arrivals = Arrivals(tmp_path / "home" / "arrivals", key_of)
    arrivals.store("1.2", "1.2.3", b"content")
    for _ in range(2):
        modes = {path.stat().st_mode & 0o777 for path in arrivals.folder.iterdir()}
        assert modes == {0o700}
        (arrivals.folder / ".unfinished" / "left").write_bytes(b"half")
        arrivals.clear_unfinished()
        assert list((arrivals.folder / ".unfinished").iterdir()) == []
    Arrivals(arrivals.folder, key_of)  # another process, beside the first


def test_what_is_set_aside_is_found_until_it_is_removed(tmp_path: Path) -> None:
    """By its study's key; it counts as arriving only for who asks for that."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    arrivals.store("1.2", "1.2.3", b"content")
    key, was_set_aside = key_of("1.2"), arrivals.set_aside(key_of("1.2"))
    arrivals.store("1.9", "1.9.3", b"content")
    assert list(arrivals.set_aside_folders()) == [(key, was_set_aside)]
    assert [study for study, _ in last_arrivals(arrivals.folder)] == [key_of("1.9")]
    assert {study for study, _ in last_arrivals(arrivals.folder, with_set_aside=True)} == {key, key_of("1.9")}
    assert (arrivals.count("1.2"), arrivals.has("1.2", "1.2.3")) == (0, False)
    assert (arrivals.seconds_since_arrival("1.2"), list(arrivals.quiet_studies(-60))) == (math.inf, [key_of("1.9")])
    arrivals.remove(was_set_aside)
    assert list(arrivals.set_aside_folders()) == []
    assert [path.name for path in sorted(arrivals.folder.iterdir())] == [".unfinished", key_of("1.9")]
    assert list((arrivals.folder / ".unfinished").iterdir()) == []


def test_a_study_is_quiet_from_its_moment_on(tmp_path: Path) -> None:
    """After so many seconds, or since the moment at which it was said to be complete, whichever is later."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    arrivals.store("1.2", "1.2.3", b"content")
    key, last = key_of("1.2"), datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60)
    os.utime(arrivals.folder / key, (last.timestamp(),) * 2)
    second = timedelta(seconds=1)
    for seconds, complete, is_quiet in (
        (30, {}, True), (90, {}, False), (90, {key: last}, True), (90, {key: last - second}, False),
        (90, {key: last + second}, True), (30, {key: last - second}, True), (90, {key_of("1.9"): last}, False),
    ):  # fmt: skip
        assert list(arrivals.quiet_studies(seconds, complete)) == ([key] if is_quiet else [])


def test_as_much_is_let_in_as_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the byte."""
    arrivals = Arrivals(tmp_path / "arrivals", key_of)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    arrivals.check_space(100)
    with pytest.raises(DiskFull):
        arrivals.check_space(101)


def test_a_folder_that_always_goes_away_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And once it stays the instance lies in it; one that goes with the instance in it has it."""
    arrivals, tries = Arrivals(tmp_path / "arrivals", key_of), list[Path]()

    def away(_: Path, target: Path) -> None:
        tries.append(target)
        raise FileNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr("site_node.network.arrivals.move", away)
        with pytest.raises(OSError, match="went away"):
            arrivals.store("1.2", "1.2.3", b"content")
    assert len(tries) > 10
    assert files(arrivals) == list((arrivals.folder / ".unfinished").iterdir()) == []
    monkeypatch.setattr("site_node.network.arrivals.sync_folder", Mock(side_effect=FileNotFoundError))
    arrivals.store("1.2", "1.2.3", b"content")
    assert [path.read_bytes() for path in files(arrivals)] == [b"content"]


def test_a_folder_that_is_made_again_at_that_moment_disturbs_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever shows progress opens the arrivals while another process clears what is unfinished."""
    arrivals, remove = Arrivals(tmp_path / "arrivals", key_of), shutil.rmtree

    def removed_and_made_again(folder: Path) -> None:
        remove(folder)
        Arrivals(tmp_path / "arrivals", key_of)

    monkeypatch.setattr(shutil, "rmtree", removed_and_made_again)
    arrivals.clear_unfinished()
    arrivals.store("1.2", "1.2.3", b"one")
    assert arrivals.count("1.2") == 1
