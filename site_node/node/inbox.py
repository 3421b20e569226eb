"""The watched folder: each thing put into it is received once, when it has stopped changing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import SourceMissing
from site_node.home.ledger import Ledger


@dataclass(frozen=True)
class Entry:
    """A file or folder directly in the inbox, as it was seen. PHI: a name may be a patient's."""

    path: Path = field(repr=False)
    seen: str = field(repr=False)  # names, sizes and times of everything in it


class Watch:
    """What is new in an inbox. Nothing in it is changed or removed; the ledger remembers what was taken.

    With `settle`, an entry is taken when two looks at it saw the same: a copy in progress is waited for.
    """

    def __init__(self, ledger: Ledger, folder: Path, *, settle: bool) -> None:
        self._ledger = ledger
        self._folder = folder
        self._settle = settle
        self._before: frozenset[str] = frozenset()

    def ready(self) -> Iterator[Entry]:
        """The entries to receive now, by name; raises `SourceMissing` when the inbox cannot be read."""
        try:
            entries = [Entry(path, _seen(path)) for path in sorted(self._folder.iterdir()) if path.name[0] != "."]
        except OSError as error:
            raise SourceMissing(source=str(self._folder)) from error
        before, self._before = self._before, frozenset(entry.seen for entry in entries)
        for entry in entries:
            if (entry.seen in before or not self._settle) and not self._ledger.is_known(entry.seen):
                yield entry

    def done(self, entry: Entry) -> None:
        """Remember an entry; it is taken again only if it changes."""
        self._ledger.remember(entry.seen)


def _seen(path: Path) -> str:
    """One text for the state of an entry; links are not followed."""
    parts = [_mark(path)]
    for where, folders, files in os.walk(path):
        folders.sort()
        parts += [_mark(Path(where) / name) for name in sorted([*folders, *files])]
    return "\n".join(parts)


def _mark(path: Path) -> str:
    try:
        state = path.lstat()
    except OSError:
        return f"{path}\0gone"
    return f"{path}\0{state.st_size}\0{state.st_mtime_ns}"
