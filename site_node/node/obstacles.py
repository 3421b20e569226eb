"""Errors that are no defect and judge no study: those to wait for, each as one of ours."""

import errno
import sqlite3

from shared.errors.base import InternalError, RicordError
from shared.errors.storage import HomeFailed


def obstacle_of(error: Exception) -> RicordError | None:
    """The error to wait for, where it is no defect: the node's, the coordinator's, or one of the disk or ledger.

    A file that is missing is a defect: waiting does not bring it back.
    """
    if isinstance(error, sqlite3.Error) or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError)):
        return home_failed(error)
    return error if isinstance(error, RicordError) and not isinstance(error, InternalError) else None


def home_failed(error: OSError | sqlite3.Error) -> HomeFailed:
    """The error of a disk or ledger as ours: it says the kind, and no path."""
    names = errno.errorcode.get(getattr(error, "errno", None) or 0), getattr(error, "sqlite_errorname", None)
    return HomeFailed(folder="The home", problem=next(filter(None, names), type(error).__name__))
