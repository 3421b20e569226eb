"""A SQLite database as it is at one moment, while others go on changing it."""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from shared.durable import move, sync_filesystem, sync_folder
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


def keep_copy(file: Path, named: str) -> None:
    """Keep a copy of a database beside it, durably, as `<file>.<named>`; the first copy of that name stays.

    Raises `DiskFull`, `HomeFailed`.
    """
    kept = file.with_name(f"{file.name}.{named}")
    if kept.exists():
        return
    temporary = file.with_name(f".{kept.name}.{secrets.token_hex(6)}.tmp")
    try:
        copy_sqlite(file, temporary)
        temporary.chmod(0o600)
        sync_filesystem(file.parent)
        move(temporary, kept)
        sync_folder(file.parent)
    finally:
        temporary.unlink(missing_ok=True)
