"""A folder that a backup is restored into: empty before, and a home only once everything in it is checked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.durable import move, sync_filesystem, sync_folder, unfinished_folder
from shared.errors.settings import HomeNotEmpty

_STAGED = "restored"


@contextmanager
def restored_folder(folder: Path, settings: str) -> Iterator[Path]:
    """Yield a hidden folder below `folder`; its content moves there when the block ends well, the file `settings` last.

    Without its settings a folder is no home, so a kill leaves none that would start. Raises `HomeNotEmpty`, `DiskFull`.
    """
    hidden = f".{_STAGED}.unfinished"
    if folder.exists() and any(entry.name != hidden for entry in folder.iterdir()):
        raise HomeNotEmpty(folder=str(folder))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with unfinished_folder(folder / _STAGED, mode=0o700) as staged:
        yield staged
        sync_filesystem(staged)
        for entry in sorted(staged.iterdir(), key=lambda entry: entry.name == settings):
            move(entry, folder / entry.name)
            sync_folder(folder)


def plain_files(folder: Path, *, without: frozenset[str]) -> Iterator[Path]:
    """The files below a folder but for the top-level entries named, and for hidden ones, which are not whole yet."""
    for where, folders, files in os.walk(folder):
        place = Path(where)
        skipped = without if place == folder else frozenset()
        folders[:] = sorted(name for name in folders if name not in skipped and not name.startswith("."))
        named = (place / name for name in sorted(files) if name not in skipped and not name.startswith("."))
        yield from (path for path in named if path.is_file())
