"""Back up a coordinator while it serves: database, keys, settings, certificates and the last head of its log."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import make_url

from coordinator.backup.dump import dump, with_password
from coordinator.home.authority import passphrase_of
from coordinator.home.settings import PROGRAM, SQLITE, Home, Settings
from coordinator.store.sql import SqlStore, newest_schema, open_unchanged
from shared.backup.archive import BackupFacts, Member, write_backup
from shared.backup.database import copy_sqlite
from shared.backup.restoring import plain_files
from shared.crypto.keys import load_signing
from shared.durable import unfinished_folder
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy

DUMP = "database.dump"


def by_copy(home: Home, settings: Settings) -> tuple[str, ...]:
    """The folders that a backup leaves out, since they are as large as what was received and trained."""
    return (str(home.federation),) if settings.store.bucket else (str(home.blobs(settings)), str(home.federation))


def back_up(home: Home, file: Path, recipient: str) -> int:
    """Write a backup, sealed to a recipient of the operator's own; returns how many files are in it.

    Raises `InvalidArgument` for a curator's recipient and for a SQLite database outside the home, `HomeBusy` where
    another backup is being made, `StoreOutdated`, what `write_backup`, `dump` and `copy_sqlite` raise.
    """
    settings = home.settings()
    _check_database(home, settings)
    store = open_unchanged(home.database(settings), password_file=settings.database_password_file)
    try:
        with store.read() as reading:
            if reading.is_curators(recipient):
                problem = "it is a curator's, who could then open this coordinator's keys; name a recipient of your own"
                raise InvalidArgument(name="--to", problem=problem)
        facts = BackupFacts(
            program=PROGRAM,
            version=version("ricord-federation"),
            schema_version=newest_schema(),
            name=settings.federation,
            fingerprint=load_signing(home.signing_key, passphrase_of(settings)).fingerprint,
            made_at=datetime.now(UTC),
        )
        with store.locks.holding("backup") as held, unfinished_folder(home.folder / "backup", mode=0o700) as folder:
            if not held:
                raise HomeBusy(folder=str(home.folder))
            return write_backup(file, recipient, facts, _members(home, settings, store, folder))
    finally:
        store.close()


def _members(home: Home, settings: Settings, store: SqlStore, folder: Path) -> Iterator[Member]:
    """The files, the last head of the log among them, and then the database, whose log contains that head."""
    left_out = {entry.name for entry in home.folder.iterdir() if entry.name.startswith(SQLITE)} | {home.federation.name}
    if settings.store.bucket is None and home.blobs(settings).is_relative_to(home.folder):
        left_out.add(home.blobs(settings).relative_to(home.folder).parts[0])
    for path in plain_files(home.folder, without=frozenset(left_out)):
        yield Member(path.relative_to(home.folder).as_posix(), path)
    if store.is_shared:
        dump(with_password(home.database(settings), settings.database_password_file), folder / DUMP)
        yield Member(DUMP, folder / DUMP)
    else:
        copy_sqlite(home.folder / SQLITE, folder / SQLITE)
        yield Member(SQLITE, folder / SQLITE)


def _check_database(home: Home, settings: Settings) -> None:
    """Raise `InvalidArgument` for a SQLite database that lies where a restored home would not look for it."""
    url = make_url(home.database(settings))
    if url.drivername == "sqlite" and Path(url.database or "").resolve() != (home.folder / SQLITE).resolve():
        problem = (
            f"a SQLite file is backed up as `{SQLITE}` in the home only; move it there, and leave `database` empty"
        )
        raise InvalidArgument(name="The database", problem=problem)
