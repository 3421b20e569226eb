"""What must be kept, and the disks and databases that keep it."""

from shared.errors.base import ExitCode, RicordError, Text


class StorageError(RicordError):
    """What must be kept cannot be, or what was kept cannot be reached."""


class DiskFull(StorageError):
    """There is no space left for what must be written."""

    text = Text(
        "There is no room left in {folder}; free some and start again, nothing was lost.",
        ExitCode.FAILED,
        "RESOURCE_EXHAUSTED",
    )


class AccessDenied(StorageError):
    """The system lets this account not read or write what is needed: an owner, a mode, or a disk that is read-only."""

    text = Text(
        "This account may not read or write a file that is needed ({problem}); mend the owner, the mode or the disk of "
        "what `doctor` names, and start again.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class DiskNearlyFull(StorageError):
    """Less space is left than the settings reserve."""

    text = Text(
        "Less than {least} MB are free in {folder} (`min_free_mb`); free some, and the node goes on by itself: "
        "nothing was lost.",
        ExitCode.FAILED,
        "RESOURCE_EXHAUSTED",
    )


class DatabaseMissing(StorageError):
    """A database that a federation has had is not there."""

    text = Text(
        "The database {file} is missing, although this federation has a log: move the home away and restore it from "
        "its backup; nothing was changed.",
        ExitCode.FAILED,
        "DATA_LOSS",
    )


class DatabaseDamaged(StorageError):
    """A database of a home is not whole."""

    text = Text(
        "{file} is damaged ({problem}): move the home away and restore it from its backup; nothing was changed.",
        ExitCode.FAILED,
        "DATA_LOSS",
    )


class StoreOutdated(StorageError):
    """The coordinator's database has another schema than this release."""

    text = Text(
        "The database has schema {held}, and this release has {newest}; `serve` moves an older one when it starts.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class StoreTooNew(StorageError):
    """The coordinator's database was moved by a newer release."""

    text = Text(
        "The database was moved by a newer release (schema {held}, here {newest}); install that release, nothing was "
        "changed.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )


class HomeFailed(StorageError):
    """A file in a home, or its ledger, cannot be read or written now."""

    text = Text(
        "{folder} cannot be read or written now ({problem}); look at the disk and at who may write there, and the "
        "node goes on by itself: nothing was lost.",
        ExitCode.FAILED,
        "UNAVAILABLE",
    )


class BackupInvalid(StorageError):
    """A file is no backup that can be restored here."""

    text = Text(
        "{file} cannot be restored: {problem}. Nothing was restored; take another backup, or the right key.",
        ExitCode.FAILED,
        "DATA_LOSS",
    )


class DatabaseToolFailed(StorageError):
    """A program of PostgreSQL that copies the database is missing or did not do so."""

    text = Text(
        "The database cannot be copied: {problem}; install PostgreSQL's client programs of the server's version or a "
        "newer one, and see that they reach the server. Nothing was written.",
        ExitCode.FAILED,
        "FAILED_PRECONDITION",
    )
