"""The snapshot that questions are answered from, as they come: it moves on where it may; a withdrawal stops answers."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from shared.counts import counted
from shared.errors.federation import SnapshotOutdated
from shared.frozen import Frozen
from shared.ids import Sha256, Uid
from site_node.federate.site import FederateSettings
from site_node.home.ledger import Ledger
from site_node.home.library import list_library, remove_decoded
from site_node.home.plans import Decisions
from site_node.home.snapshots import ListedStudy, Studies
from site_node.home.withdrawals import Level, Withdrawn

_TICK_NS = 1_000_000_000  # two changes of a folder that are closer may have the same time


class Questions:
    """What questions to one library are answered from; several threads may use it."""

    def __init__(self, site: FederateSettings) -> None:
        self.site = site
        self._library, self._ledger = site.library, site.ledger
        self._lock = threading.Lock()
        self._listed: dict[Uid, ListedStudy] = {}
        self._listings = 0  # how often the library was listed
        self._listed_at = -1  # the library's last change (ns), once a further one would show; else -1
        self._last: tuple[object, Studies] | None = None  # what was answered from, and all that it follows from

    @contextmanager
    def answering(self, minimum_patients: int) -> Iterator[dict[Uid, Sha256]]:
        """The digests of the studies that a question is answered from, in the block.

        Raises `SnapshotOutdated` before it where the library does not hold all of them as they were, and after it where
        one was withdrawn meanwhile: then nothing may leave.
        """
        with self._lock, closing(Ledger(self._ledger)) as ledger:
            withdrawn = ledger.withdrawals.all()
            listed = self._list()
            seen = (self._listings, withdrawn, ledger.snapshots.number(), minimum_patients)
            if self._last is None or self._last[0] != seen:
                studies = _newest(ledger, withdrawn, listed, minimum_patients)
                self._last = (*seen[:2], ledger.snapshots.number(), minimum_patients), studies
            studies = self._last[1]
        yield {study: listed.digest for study, listed in studies.items()}
        with closing(Ledger(self._ledger)) as ledger:
            if affected(ledger.withdrawals.all() - withdrawn, studies):
                remove_decoded(self._library)
                raise SnapshotOutdated

    def decisions(self) -> Decisions:
        """What is decided on the plans that came."""
        with closing(Ledger(self._ledger)) as ledger:
            return ledger.plans.decisions()

    def _list(self) -> dict[Uid, ListedStudy]:
        """The library's studies, read anew where one may have been added or removed since."""
        changed = self._library.stat().st_mtime_ns if self._library.is_dir() else 0
        if self._listed_at != changed:
            settled = time.time_ns() - changed > _TICK_NS
            self._listed_at, self._listed = changed if settled else -1, list_library(self._library)
            self._listings += 1
        return self._listed


class SnapshotStanding(Frozen):
    """The snapshot that is answered from, whether it is, and how many patients must change before the next one."""

    taken_at: datetime | None  # `None`: nothing was asked yet
    answered: bool
    missing: int
    is_library: bool  # nothing came or left since

    @property
    def words(self) -> str:
        """The same for a person."""
        if self.taken_at is None:
            return "No question was answered yet; the first one is answered from the library of that moment."
        which = f"the snapshot of {self.taken_at.astimezone():%Y-%m-%d %H:%M}"
        following = f"once {counted(self.missing, 'more patient', 'has')} changed" if self.missing else "now"
        if not self.answered:
            return f"A study of {which} was withdrawn or made anew; questions are answered again {following}."
        if self.is_library:
            return f"Questions are answered from {which}, which is the present library."
        return f"Questions are answered from {which}; the next one can be taken {following}."


def standing_of(ledger: Ledger, library: Path, minimum_patients: int) -> SnapshotStanding:
    """How the snapshot stands; it reads the whole library."""
    newest, listed = ledger.snapshots.newest(), list_library(library)
    if newest is None:
        return SnapshotStanding(taken_at=None, answered=True, missing=0, is_library=False)
    kept = all(listed.get(study) == about for study, about in newest.studies.items())
    same = newest.studies == listed
    missing = 0 if same else ledger.snapshots.missing(listed, minimum_patients)
    return SnapshotStanding(taken_at=newest.taken_at, answered=kept, missing=missing, is_library=same)


def _newest(ledger: Ledger, withdrawn: frozenset[Withdrawn], listed: Studies, minimum_patients: int) -> Studies:
    """The studies of the newest snapshot, which may be those listed; `withdrawn` is what was when they were."""
    with ledger.changing():
        if ledger.withdrawals.in_library() or ledger.withdrawals.all() != withdrawn:
            raise SnapshotOutdated
        whole = [each for each in withdrawn if each.level is not Level.INSTANCE]
        left_out = affected(whole, listed)
        library = {study: about for study, about in listed.items() if study not in left_out}
        ledger.snapshots.move_on(library, minimum_patients)
        newest = ledger.snapshots.newest()
    if newest is None or any(library.get(study) != about for study, about in newest.studies.items()):
        raise SnapshotOutdated
    return newest.studies


def affected(withdrawn: Iterable[Withdrawn], studies: Mapping[Uid, ListedStudy]) -> set[Uid]:
    """The studies of which something is withdrawn."""
    names: dict[Level, set[str]] = {level: set() for level in Level}
    for each in withdrawn:
        names[each.level].add(each.study or each.name)
    if names[Level.SITE]:
        return set(studies)
    uids, patients = names[Level.STUDY] | names[Level.INSTANCE], names[Level.PATIENT]
    return {study for study, about in studies.items() if study in uids or about.patient in patients}
