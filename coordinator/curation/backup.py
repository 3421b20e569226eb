"""Back up a curator's home while it works, and restore it: register, keys, identity, settings, purges, readers.

Opened studies are not in it, since they are as large as what was received: they are copied apart, or opened again.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from coordinator.curation.membership import CuratorHome
from coordinator.curation.register.acts import PROGRAM
from coordinator.curation.register.register import Register
from coordinator.curation.register.tables import STEPS
from shared.backup.archive import BackupFacts, Member, unpack_backup, write_backup
from shared.backup.database import copy_sqlite
from shared.backup.restoring import plain_files, restored_folder
from shared.crypto.keys import load_identity
from shared.durable import unfinished_folder
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import AuditBroken

_CURATOR: Literal["ricord-curator"] = "ricord-curator"
RESTORED = "restored from a backup"


def back_up(home: CuratorHome, file: Path, recipient: str) -> int:
    """Write a backup, sealed to a recipient apart from this curator; returns how many files are in it.

    Raises `InvalidArgument` for this curator's own recipient, and what `write_backup` and `copy_sqlite` raise.
    """
    keys = home.load_keys()
    if recipient in {keys.identity.recipient, *(pair.identity.recipient for pair in keys.former)}:
        problem = "it is this curator's own, whose key is in the backup; name another recipient of yours"
        raise InvalidArgument(name="--to", problem=problem)
    facts = BackupFacts(
        program=_CURATOR,
        version=version("ricord-federation"),
        schema_version=str(len(STEPS)),
        name=home.membership().federation,
        fingerprint=keys.signing.fingerprint,
        made_at=datetime.now(UTC),
    )
    with unfinished_folder(home.folder / "backup", mode=0o700) as folder:
        return write_backup(file, recipient, facts, _members(home, folder))


def restore(home: CuratorHome, file: Path, key: Path) -> BackupFacts:
    """Restore into an empty folder; the register's log is checked whole, and says that it was restored.

    Raises `HomeNotEmpty`, `BackupInvalid` for what is damaged, foreign, newer or sealed to another key, `ClockWrong`,
    `AuditBroken`, what `load_identity` raises, `DiskFull`. Then there is no home.
    """
    identity = load_identity(key)

    def check(facts: BackupFacts) -> None:
        facts.check(file, _CURATOR, datetime.now(UTC), is_known=facts.schema_version in map(str, range(len(STEPS) + 1)))

    with restored_folder(home.folder, home.settings_file.name) as folder:
        facts = unpack_backup(file, identity, folder, check)
        with closing(Register(CuratorHome(folder).register)) as register, register.changing() as change:
            report = change.verified()
            if not report.intact:
                raise AuditBroken(number=str(report.broken_at))
            change.note(PROGRAM, RESTORED, f"{report.events} entries", report.head)
        return facts


def _members(home: CuratorHome, folder: Path) -> Iterator[Member]:
    databases = (home.register, home.readers)
    of_databases = {
        entry.name for entry in home.folder.iterdir() for file in databases if entry.name.startswith(file.name)
    }
    left_out = {home.opened.name, home.fetching.name, *of_databases}
    for path in plain_files(home.folder, without=frozenset(left_out)):
        yield Member(path.relative_to(home.folder).as_posix(), path)
    for file in databases:
        if file.exists():
            copy_sqlite(file, folder / file.name)
            yield Member(file.name, folder / file.name)
