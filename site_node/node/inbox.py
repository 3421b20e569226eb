"""The watched folder: each entry in it is received once, when it has stopped changing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors.inputs import SourceMissing
from site_node.home.ledger import Ledger


@dataclass(frozen=True)
class InboxEntry:
    """A file or folder directly in the inbox. PHI: a name may be a patient's."""

    path: Path = field(repr=False)
    snapshot: str = field(repr=False)  # names, sizes and times of everything in it


class InboxWatcher:
    """Finds new entries in an inbox. It changes and removes nothing there; the ledger remembers received entries.

    With `settle`, an entry is ready when two snapshots are equal, so that a copy in progress is not received.
    """

    def __init__(self, ledger: Ledger, folder: Path, *, settle: bool) -> None:
        self._ledger = ledger
        self._folder = folder
        self._settle = settle
        self._snapshots: frozenset[str] = frozenset()

    def ready(self) -> Iterator[InboxEntry]:
        """The entries to receive now, by name; raises `SourceMissing` when the inbox cannot be read."""
        try:
            entries = [
                InboxEntry(path, _snapshot(path)) for path in sorted(self._folder.iterdir()) if path.name[0] != "."
            ]
        except OSError as error:
            raise SourceMissing(source=str(self._folder)) from error
        previous, self._snapshots = self._snapshots, frozenset(entry.snapshot for entry in entries)
        for entry in entries:
            if (entry.snapshot in previous or not self._settle) and entry.snapshot not in self._ledger.inbox_entries:
                yield entry

    def mark_received(self, entry: InboxEntry) -> None:
        """Remember an entry; it is ready again only after a change."""
        self._ledger.inbox_entries.add(entry.snapshot)


def _snapshot(path: Path) -> str:
    """The state of an entry as one text; links are not followed."""
    states = [_state(path)]
    for where, folders, files in os.walk(path):
        folders.sort()
        states += [_state(Path(where) / name) for name in sorted([*folders, *files])]
    return "\n".join(states)


def _state(path: Path) -> str:
    try:
        status = path.lstat()
    except OSError:
        return f"{path}\0gone"
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
