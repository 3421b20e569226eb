"""What fails on the disk or in the ledger is said by its kind, never by a path or a statement."""

import errno
import sqlite3

import pytest

from site_node.node.obstacles import home_failed

SECRET = "/srv/JONES^MARY"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OSError(errno.EIO, "x", SECRET), "EIO"),
        (PermissionError(errno.EACCES, "x", SECRET), "EACCES"),
        (OSError(SECRET), "OSError"),
        (OSError(99_999, "x", SECRET), "OSError"),
        (sqlite3.DatabaseError(SECRET), "DatabaseError"),
    ],
)
def test_a_failing_home_is_named_by_its_kind(error: OSError | sqlite3.Error, problem: str) -> None:
    """The system's own name of it where there is one, else that of the error."""
    failed = home_failed(error)
    assert f"({problem})" in failed.public
    assert SECRET not in failed.public


def test_a_ledgers_own_name_of_a_failure_is_told() -> None:
    """SQLite names it, too."""
    database = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("select * from nowhere")
    assert "(SQLITE_ERROR)" in home_failed(caught.value).public
