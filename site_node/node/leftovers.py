"""Remove what is no longer needed of studies that ended, and what killed processes left half written."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from shared.durable import LONGEST_PAUSE, clear_folder, clear_unfinished_folders
from shared.errors.inputs import InvalidIdentifier, NotFound
from shared.errors.settings import HomeBusy
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import ENDED, Ledger, State, StudyEntry
from site_node.home.records import Records
from site_node.study import Sealed
from site_node.submit.outbox import discard

log = structlog.get_logger(__name__)


class Leftovers:
    """The leftovers of a home's studies.

    Args:
        home: where the studies are.
        ledger: its ledger.
        originals_stay: how long our copies of the originals stay after their study ended; `None` keeps them for good.
        grows_for: how long those of a study that may go on stay at least, since more of its images may come.
        now: the clock.
    """

    def __init__(
        self,
        home: SiteHome,
        ledger: Ledger,
        *,
        originals_stay: timedelta | None,
        grows_for: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._home = home
        self._ledger = ledger
        self._originals_stay = originals_stay
        self._grows_for = grows_for
        self._now = now

    def clear(self) -> None:
        """Remove half-written files, leftovers after a kill, and originals whose time is over."""
        with self._home.changing():  # a reception writes its record under this lock
            for folder in (self._home.outbox, self._home.receipts, self._home.reports, *self._home.work_folders()):
                clear_folder(folder)
            clear_unfinished_folders(self._home.library)
        for folder in self._home.shared_folders():
            clear_folder(folder, unchanged_for=LONGEST_PAUSE)
        for folder in (*self._home.work_folders(), *self._home.spool.iterdir()):
            try:
                entry = self._ledger.study(StudyKey(folder.name))
            except (InvalidIdentifier, NotFound):  # an interrupted reception; it is received again
                continue
            self.remove(entry)

    def remove(self, entry: StudyEntry) -> None:
        """Remove the leftovers of a study that ended, the record first: what comes later sees no half study.

        One in quarantine keeps everything for the person who looks, one that an error refused after validation its new
        files for the next try: nothing is wrong with its images.
        """
        if entry.state not in ENDED or entry.state is State.QUARANTINED:
            return
        with suppress(HomeBusy), self._home.deleting(), self._home.changing():  # while somebody receives it waits
            if self._ledger.study(entry.key).is_as(entry):
                self._remove(entry)

    def _remove(self, entry: StudyEntry) -> None:
        key, records, may_delete = entry.key, Records(self._home), self._may_delete_originals(entry)
        if entry.is_passed_over and not (may_delete and records.has_output(key)):
            return
        if sealed := records.find(key, Sealed):
            discard(sealed)
        if not entry.is_passed_over:
            shutil.rmtree(self._home.quarantine / key, ignore_errors=True)
            shutil.rmtree(self._home.work(key) if may_delete else self._home.deidentified(key), ignore_errors=True)
        if may_delete and (originals := self._home.spool / key).exists():
            shutil.rmtree(originals, ignore_errors=True)
            if self._originals_stay:  # else the study's ending implies it
                log.info("originals.deleted", study=key, state=entry.state.value)

    def _may_delete_originals(self, entry: StudyEntry) -> bool:
        """Whether a study ended long enough ago, and, if more images may change that, got none since."""
        if self._originals_stay is None:
            return False
        stay = self._originals_stay
        if may_grow := entry.goes_on_whole:
            stay = max(stay, self._grows_for)
        if self._now() - entry.changed_at < stay:
            return False
        return not (may_grow and any(self._home.arrivals.glob(f"*{entry.key}*")))
