"""A SQLite database as it is at one moment, while others go on changing it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from shared.errors.storage import DiskFull, HomeFailed


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database into a new file by SQLite's own backup, in one read transaction, which no writer waits for.

    Raises `DiskFull`, `HomeFailed`.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise DiskFull(folder=str(target.parent)) from error
        raise HomeFailed(folder=source.name, problem=getattr(error, "sqlite_errorname", "OperationalError")) from error
