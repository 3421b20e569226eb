"""Restore a coordinator from its backup: its log is checked whole, and says of itself that it was restored."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from coordinator.audit.service import AuditService
from coordinator.backup.backup import DUMP
from coordinator.backup.dump import load, with_password
from coordinator.home.identity import OPERATOR
from coordinator.home.init import open_home_store, open_identity
from coordinator.home.settings import PROGRAM, Home
from coordinator.store.audit_chain import ChainReport
from coordinator.store.sql import is_known_schema
from shared.backup.archive import BackupFacts, unpack_backup
from shared.backup.restoring import restored_folder
from shared.crypto.keys import load_identity
from shared.crypto.pki import Role
from shared.errors.trust import AuditBroken

RESTORED = "restored from a backup"


class Restored(NamedTuple):
    """What was restored, and the last head of its log."""

    facts: BackupFacts
    log: ChainReport


def restore(home: Home, file: Path, key: Path) -> Restored:
    """Restore into an empty folder, and into an empty database where the settings name one.

    Raises `HomeNotEmpty`, `BackupInvalid` for what is damaged, foreign, newer or sealed to another key, `ClockWrong`,
    `AuditBroken`
    for a log that was broken in the backup, what `load_identity` and `load` raise, `DiskFull`. Then there is no home.
    """
    identity = load_identity(key)

    def check(facts: BackupFacts) -> None:
        facts.check(file, PROGRAM, datetime.now(UTC), is_known=is_known_schema(facts.schema_version))

    with restored_folder(home.folder, home.settings_file.name) as folder:
        facts = unpack_backup(file, identity, folder, check)
        staged = Home(folder)
        settings, dumped = staged.settings(), folder / DUMP
        if dumped.exists():
            load(with_password(staged.database(settings), settings.database_password_file), dumped)
            dumped.unlink()
        return Restored(facts, _going_on(staged))


def _going_on(home: Home) -> ChainReport:
    """Check the whole log, cancel unused tokens, and append the event that names the last head; returns that.

    Raises `AuditBroken`.
    """
    settings = home.settings()
    identity, store = open_identity(home, settings), open_home_store(home, settings)
    try:
        audit = AuditService(store, identity, home.audit_head)
        report, _, _ = audit.verify()
        if not report.intact:
            raise AuditBroken(number=str(report.broken_at))
        with store.begin() as work:
            now = datetime.now(UTC)
            for token in work.tokens():
                work.cancel_token(token.digest, now)  # it may have been used since the backup
            uri, head = identity.uri(Role.COORDINATOR, OPERATOR), f"{report.events} entries, root {report.root}"
            work.append_event(at=now, actor=uri, action=RESTORED, about=head)
        audit.keep_head()
        return report
    finally:
        store.close()
