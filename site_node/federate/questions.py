"""The snapshot that questions are answered from, as they come: it moves on where it may; a withdrawal stops answers."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager

from shared.errors.federation import SnapshotOutdated
from shared.ids import Sha256, Uid
from site_node.federate.site import FederateSettings
from site_node.home.ledger import Ledger
from site_node.home.library import list_library, remove_decoded
from site_node.home.snapshots import ListedStudy, Studies
from site_node.home.withdrawals import Level, Withdrawn


class Questions:
    """What questions to one library are answered from; several threads may use it."""

    def __init__(self, site: FederateSettings) -> None:
        self.site = site
        self._library, self._ledger = site.library, site.ledger
        self._lock = threading.Lock()
        self._listed: tuple[int, dict[Uid, ListedStudy]] | None = None  # with the time of the library's last change

    @contextmanager
    def answering(self, minimum_patients: int) -> Iterator[dict[Uid, Sha256]]:
        """The digests of the studies that a question is answered from, in the block.

        Raises `SnapshotOutdated` before it where the library does not hold all of them as they were, and after it where
        one was withdrawn meanwhile: then nothing may leave.
        """
        with self._lock, closing(Ledger(self._ledger)) as ledger:
            withdrawn = ledger.withdrawals.all()
            studies = _newest(ledger, withdrawn, self._list(), minimum_patients)
        yield {study: listed.digest for study, listed in studies.items()}
        with closing(Ledger(self._ledger)) as ledger:
            if affected(ledger.withdrawals.all() - withdrawn, studies):
                remove_decoded(self._library)
                raise SnapshotOutdated

    def _list(self) -> dict[Uid, ListedStudy]:
        """The library's studies, read anew where one was added or removed."""
        changed = self._library.stat().st_mtime_ns if self._library.is_dir() else 0
        if self._listed is None or self._listed[0] != changed:
            self._listed = (changed, list_library(self._library))
        return self._listed[1]


def _newest(ledger: Ledger, withdrawn: frozenset[Withdrawn], listed: Studies, minimum_patients: int) -> Studies:
    """The studies of the newest snapshot, which may be those listed; `withdrawn` is what was when they were."""
    with ledger.changing():
        if ledger.withdrawals.in_library() or ledger.withdrawals.all() != withdrawn:
            raise SnapshotOutdated
        whole = [each for each in withdrawn if each.level is not Level.INSTANCE]
        gone = affected(whole, listed)
        library = {study: about for study, about in listed.items() if study not in gone}
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
