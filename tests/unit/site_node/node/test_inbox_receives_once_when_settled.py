"""The watched folder: an entry is received once, when it has stopped changing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors.inputs import SourceMissing
from site_node.home.ledger import Ledger
from site_node.node.inbox import InboxWatcher


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    (folder / "export" / "deep").mkdir(parents=True)
    (folder / "export" / "deep" / "one").write_bytes(b"1")
    return folder


def names(watch: InboxWatcher) -> list[str]:
    return [entry.path.name for entry in watch.ready()]


def test_what_still_changes_is_waited_for(ledger: Ledger, folder: Path) -> None:
    """An entry is ready when two snapshots are equal, however deep the change."""
    watch = InboxWatcher(ledger, folder, settle=True)
    assert names(watch) == []
    (folder / "export" / "deep" / "two").write_bytes(b"2")
    assert names(watch) == []
    assert names(watch) == ["export"]


def test_an_entry_is_received_once_and_again_when_it_changed(ledger: Ledger, folder: Path) -> None:
    watch = InboxWatcher(ledger, folder, settle=False)
    for entry in watch.ready():
        watch.mark_received(entry)
    assert names(watch) == []
    assert names(InboxWatcher(ledger, folder, settle=False)) == [], "a restarted node remembers"
    (folder / "export" / "deep" / "one").write_bytes(b"another")
    assert names(watch) == ["export"]


def test_an_entry_that_was_not_received_comes_again(ledger: Ledger, folder: Path) -> None:
    watch = InboxWatcher(ledger, folder, settle=False)
    assert names(watch) == names(watch) == ["export"]


def test_hidden_entries_are_ignored_and_a_missing_inbox_is_an_error(ledger: Ledger, folder: Path) -> None:
    (folder / ".copying").write_bytes(b"")
    assert names(InboxWatcher(ledger, folder, settle=False)) == ["export"]
    with pytest.raises(SourceMissing):
        names(InboxWatcher(ledger, folder / "nowhere", settle=False))


def test_no_entry_shows_a_name(ledger: Ledger, folder: Path) -> None:
    (folder / "DOE^JANE").mkdir()
    assert all("DOE" not in repr(entry) for entry in InboxWatcher(ledger, folder, settle=False).ready())
