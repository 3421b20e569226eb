"""Back up a home while its node runs: ledger, keys, settings, identity, receipts and sheets, without images."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from shared.backup.archive import BackupFacts, Member, write_backup
from shared.backup.database import copy_sqlite
from shared.backup.restoring import plain_files
from shared.crypto.keys import load_signing
from shared.crypto.recipients import parse_recipient
from shared.durable import unfinished_folder
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import NotEnrolled
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.migrations import STEPS
from site_node.membership.record import load_membership

PROGRAM: Literal["ricord-site"] = "ricord-site"
BY_COPY = frozenset({"spool", "work", "outbox", "library", "inbox", "arrivals", "quarantine"})  # images
_PASSING = frozenset({"lock", "serving", "receiving", "changing", "copying", "pulse", "decoded"})
_LEDGER = "ledger.sqlite"


def back_up(home: SiteHome, file: Path, recipient: str) -> int:
    """Write a backup of a home, sealed to a recipient of the hospital's own; returns how many files are in it.

    Raises `InvalidArgument` for the curator's recipient, `HomeBusy` where another backup is being made, what
    `write_backup` and `copy_sqlite` raise.
    """
    home.load()
    _check_recipient(home, recipient)
    facts = BackupFacts(
        program=PROGRAM,
        version=version("ricord-federation"),
        schema_version=str(len(STEPS)),
        name=_name(home),
        fingerprint=load_signing(home.signing_key).fingerprint,
        made_at=datetime.now(UTC),
    )
    with home.copying(), unfinished_folder(home.folder / "backup", mode=0o700) as folder:
        return write_backup(file, recipient, facts, _members(home, folder / _LEDGER))


def _members(home: SiteHome, copy: Path) -> Iterator[Member]:
    """The ledger as it is now, then the files, so that none that the ledger names is missing."""
    Ledger(home.ledger).close()  # it has this release's schema then
    copy_sqlite(home.ledger, copy)
    yield Member(_LEDGER, copy)
    apart = (_LEDGER, home.console.name)  # the console's people are invited anew: a backup knows of none removed since
    databases = {entry.name for entry in home.folder.iterdir() if entry.name.startswith(apart)}
    for path in plain_files(home.folder, without=BY_COPY | _PASSING | databases):
        yield Member(path.relative_to(home.folder).as_posix(), path)


def _name(home: SiteHome) -> str:
    """The SITEID, where there is one."""
    try:
        return load_membership(home).site_id
    except NotEnrolled:
        return "not enrolled"


def _check_recipient(home: SiteHome, recipient: str) -> None:
    """Raise `InvalidArgument` for the recipient of any curator that is named in what this site has read or signed."""
    parse_recipient(recipient)
    if any(recipient in file.read_text(encoding="utf-8") for file in home.identity.glob("*.json")):
        problem = (
            "it is the curator's, who could then open this hospital's keys; name a recipient of the hospital's own"
        )
        raise InvalidArgument(name="--to", problem=problem)
