"""Errors that are no defect and judge no study: those to wait for, each as one of ours, and the one met last."""

import errno
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from shared.durable import damage_of, write_whole
from shared.errors.base import InternalError, RicordError
from shared.errors.storage import DatabaseDamaged, HomeFailed, StorageError
from shared.errors.tree import error_for
from shared.frozen import Frozen
from site_node.home.folder import SiteHome


def obstacle_of(error: Exception) -> RicordError | None:
    """The error to wait for, where it is no defect: the node's, the coordinator's, or one of the disk or ledger.

    A file that is missing is a defect: waiting does not bring it back.
    """
    if isinstance(error, sqlite3.Error) or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError)):
        return home_failed(error)
    return error if isinstance(error, RicordError) and not isinstance(error, InternalError) else None


def home_failed(error: OSError | sqlite3.Error) -> StorageError:
    """The error of a disk or ledger as ours: it says the kind, and no path."""
    if damage := damage_of(error):
        return DatabaseDamaged(file="The ledger", problem=damage)
    names = errno.errorcode.get(getattr(error, "errno", None) or 0), getattr(error, "sqlite_errorname", None)
    return HomeFailed(folder="The home", problem=next(filter(None, names), type(error).__name__))


class Obstacle(Frozen):
    """The error for which sealed studies wait, and since when it is met."""

    code: str
    fields: dict[str, str]
    since: datetime

    @property
    def error(self) -> RicordError:
        """The error itself; one that a later release knows is a defect here."""
        return error_for(self.code, self.fields)


def kept_obstacle(home: SiteHome) -> Obstacle | None:
    """What the last pass that might send was blocked by; `None` where it was not."""
    try:
        return Obstacle.model_validate_json(_file(home).read_bytes())
    except FileNotFoundError:
        return None


def keep_obstacle(home: SiteHome, error: RicordError | None) -> None:
    """Keep for commands what blocked a pass, or that nothing did; the same error as before is one since then."""
    before = kept_obstacle(home)
    if error is None:
        _file(home).unlink(missing_ok=True)
    elif before is None or (before.code, before.fields) != (error.code, error.fields):
        kept = Obstacle(code=error.code, fields=error.fields, since=datetime.now(UTC))
        with suppress(StorageError):  # there is no room; the log has it
            write_whole(_file(home), kept.model_dump_json().encode(), mode=0o600)


def _file(home: SiteHome) -> Path:
    return home.folder / "obstacle.json"
