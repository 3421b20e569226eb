"""`screen` on a folder without a home: for looking only; nothing is kept."""

import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.protocol.criteria import Criteria
from site_node.clinical.matching import KnownStudy, UnmatchedRow, unmatched
from site_node.clinical.sheet import ClinicalSheet
from site_node.node.composition import NOT_ENROLLED, keys_of, row_for
from site_node.pseudonyms.keyed import SECRET_BYTES, Pseudonyms
from site_node.receive.folder import Reception, receive_folder
from site_node.receive.reading import RefusedFile
from site_node.receive.source import candidates
from site_node.screen.decide import assess
from site_node.screen.report import Line, UnassignedFile, study_lines, unassigned_file, unassigned_lines

NO_IMAGE = frozenset({"not-dicom", "dicomdir"})  # what lies in an export beside its images, and decides nothing


@contextmanager
def received(source: Path, pseudonyms: Pseudonyms | None = None) -> Iterator[Reception]:
    """A source received into a private temporary folder, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ricord-") as folder:
        keys = pseudonyms or Pseudonyms(os.urandom(SECRET_BYTES), NOT_ENROLLED)
        yield receive_folder(source, Path(folder), keys)


class Screening:
    """Looks at folders, one after the other, and counts what is of no study."""

    def __init__(self, criteria: Criteria, sheet: ClinicalSheet | None) -> None:
        self._criteria = criteria
        self._sheet = sheet
        self._studies: list[KnownStudy] = []
        self.files: Counter[str] = Counter()

    def lines(self, folder: Path) -> Iterator[Line]:
        """The objects of one folder; raises what receiving it raises."""
        with received(folder) as reception:
            strays = self._strays(folder, reception.refused)
            for study in reception.studies:
                row = row_for(study, [self._sheet]) if self._sheet else None
                if self._sheet:
                    self._studies.append(KnownStudy(study.key, keys_of(study)))
                checked = self._sheet is not None
                found = assess(study, criteria=self._criteria, clinical=row, clinical_checked=checked)
                own = strays.pop(study.study_instance_uid, [])
                yield from study_lines(
                    found, self._criteria, checked=checked, held=reception.held.get(study.key), strays=own
                )
            for uid, own in sorted(strays.items()):
                yield from unassigned_lines(uid, self._criteria, own, checked=self._sheet is not None)

    def unmatched_rows(self) -> tuple[UnmatchedRow, ...]:
        """Rows of the sheet that join none of the studies seen so far."""
        return unmatched([("", self._sheet)], self._studies).rows if self._sheet else ()

    def _strays(self, folder: Path, refused: Sequence[RefusedFile]) -> dict[str, list[UnassignedFile]]:
        """Refused files by the study that they say they are of; those that say none are counted."""
        reasons = {one.source: one.reason for one in refused}
        found: defaultdict[str, list[UnassignedFile]] = defaultdict(list)
        for candidate in candidates(folder) if reasons else ():
            reason = reasons.pop(candidate.name, None)
            stray = None
            if reason and reason.code not in NO_IMAGE and candidate.open:
                with suppress(Exception), candidate.open() as stream:
                    stray = unassigned_file(stream, reason)
            if stray:
                found[stray.study].append(stray)
            elif reason:
                self.files[reason.code] += 1
        self.files.update(reason.code for reason in reasons.values())
        return found
