"""The names of what a database fails with and later does not."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from shared.durable import damage_of
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.storage import DatabaseDamaged, DiskFull
from shared.errors.transport import BUSY_SECONDS, CoordinatorBusy, StoreUnreachable

_DEFECTS = (IntegrityError, NotSupportedError, ProgrammingError)  # our statement is wrong, not the moment
_FULL = frozenset({sqlite3.SQLITE_FULL, "53100"})  # the other is PostgreSQL's disk_full


@contextmanager
def naming_failures(kind: str) -> Iterator[None]:
    """What fails now and works later gets its name; statement and parameters stay out of every text."""
    try:
        yield
    except NoConnectionFree:
        raise CoordinatorBusy("every connection is in use", seconds=str(BUSY_SECONDS)) from None
    except (DataError, OverflowError) as error:  # PostgreSQL's and SQLite's word for what their columns cannot hold
        raise InvalidArgument(type(error).__name__, name="A value", problem="the database cannot hold it") from None
    except _DEFECTS:
        raise
    except DBAPIError as error:
        raise _named(error, kind) from None


def _named(error: DBAPIError, kind: str) -> RicordError:
    """The error of a database that has no room, or is locked, restarting or away."""
    codes = {getattr(error.orig, name, None) for name in ("sqlite_errorcode", "sqlstate")}
    if codes & _FULL:
        return DiskFull(folder="the coordinator's database")
    if error.orig is not None and (damage := damage_of(error.orig)):
        return DatabaseDamaged(file="The coordinator's database", problem=damage)
    return StoreUnreachable(type(error.orig).__name__, kind=f"{kind} database", setting="database")
