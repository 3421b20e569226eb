"""A PostgreSQL database as a file, by pg_dump, and back again, by pg_restore; both are PostgreSQL's own programs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import URL, create_engine, inspect, make_url
from sqlalchemy.exc import SQLAlchemyError

from shared.errors.inputs import InvalidArgument
from shared.errors.storage import DatabaseToolFailed, DiskFull

_NO_SPACE = "No space left on device"
_OLDER = re.compile(r"server version: (\S+?);? .*version: (\S+)")


def dump(url: URL, target: Path) -> None:
    """Write one consistent state of a database into `target`, in pg_dump's custom format; writers do not wait.

    Raises `DatabaseToolFailed` where pg_dump is missing, older than the server or does not reach it; `DiskFull`.
    """
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def load(url: URL, source: Path) -> None:
    """Fill an empty database from `source`, whole or not at all.

    Raises `InvalidArgument` for a database that holds tables, and as `dump` does.
    """
    engine = create_engine(url)
    try:
        if inspect(engine).get_table_names():
            problem = "it is not empty, and a backup is restored into an empty one only; make a new database"
            raise InvalidArgument(name="The database", problem=problem)
    except SQLAlchemyError as error:
        raise DatabaseToolFailed(problem=f"the database does not answer ({type(error).__name__})") from None
    finally:
        engine.dispose()
    _run("pg_restore", url, "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", str(source))


def with_password(url: str, password_file: Path | None) -> URL:
    """A database's URL with the password of the file, if one is named."""
    address = make_url(url)
    return address if password_file is None else address.set(password=password_file.read_text("utf-8").strip())


def _run(tool: str, url: URL, *options: str) -> None:
    program = shutil.which(tool)
    if program is None:
        raise DatabaseToolFailed(problem=f"`{tool}` is not installed")
    names = {"PGHOST": url.host or url.query.get("host"), "PGPORT": url.port, "PGUSER": url.username}
    names |= {"PGPASSWORD": url.password, "PGCONNECT_TIMEOUT": 30}
    environment = {**os.environ, **{name: str(value) for name, value in names.items() if value}}
    command = [program, "--no-password", f"--dbname={url.database}", *options]
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if ended.returncode == 0:
        return
    if _NO_SPACE in ended.stderr:
        raise DiskFull(folder="the home, for the database's copy")
    if versions := _OLDER.search(ended.stderr):
        raise DatabaseToolFailed(problem=f"`{tool}` is of version {versions[2]}, older than the server's {versions[1]}")
    raise DatabaseToolFailed(ended.stderr[-2000:], problem=f"`{tool}` ended with exit code {ended.returncode}")
