"""`screen` on a folder without a home: nothing is kept."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.ids import EXAMPLE_SITE_ID
from shared.protocol.criteria import Criteria
from shared.protocol.loader import load_profile
from site_node.clinical.matching import KnownStudy, UnmatchedRow, unmatched
from site_node.clinical.sheet import ClinicalSheet
from site_node.deidentify.study import foresee
from site_node.node.composition import join_keys, row_for
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.pseudonyms.names import SECRET_BYTES, KeyedNames
from site_node.receive.folder import Reception, receive_folder
from site_node.receive.refusals import RefusedFile
from site_node.screen.decide import assess, kept_of, without
from site_node.screen.report import Line, UnassignedFile, study_lines, unassigned_lines
from site_node.standalone.scratch import scratch_folder
from site_node.study import Severity


@contextmanager
def temporary_reception(source: Path) -> Iterator[Reception]:
    """A source read where it lies; members of archives are copied into a private folder until the end of the block."""
    with scratch_folder() as folder:
        yield receive_folder(source, folder, KeyedNames(os.urandom(SECRET_BYTES)), in_place=True)


class Screening:
    """Screens folders one after the other, and counts the files that belong to no study.

    What de-identification would leave out is left out here already, with its reasons.
    """

    def __init__(self, criteria: Criteria, sheet: ClinicalSheet | None) -> None:
        self._criteria = criteria
        self._sheet = sheet
        self._profile = load_profile()
        self._pseudonyms = Pseudonyms(os.urandom(SECRET_BYTES), EXAMPLE_SITE_ID)  # no file is written under them
        self._studies: list[KnownStudy] = []
        self.files: Counter[str] = Counter()

    def lines(self, folder: Path) -> Iterator[Line]:
        """The report lines of one folder; raises what receiving it raises."""
        with temporary_reception(folder) as reception:
            unassigned, held = self._unassigned(reception.refused), reception.held
            for study in reception.studies:
                row = row_for(study, [self._sheet]) if self._sheet else None
                if self._sheet:
                    self._studies.append(KnownStudy(study.key, join_keys(study)))
                checked = self._sheet is not None
                assessment = assess(study, criteria=self._criteria, clinical=row, clinical_checked=checked)
                kept = kept_of(assessment)
                if kept is not None:
                    foreseen = foresee(kept, profile=self._profile, pseudonyms=self._pseudonyms)
                    assessment = without(assessment, foreseen)
                own = unassigned.pop(study.study_instance_uid, [])
                yield from study_lines(
                    assessment, self._criteria, checked=checked, held_reason=held.get(study.key), unassigned=own
                )
            for uid, own in sorted(unassigned.items()):
                yield from unassigned_lines(uid, self._criteria, own, checked=self._sheet is not None)

    def unmatched_rows(self) -> tuple[UnmatchedRow, ...]:
        """Rows of the sheet that join none of the studies screened so far."""
        return unmatched([("", self._sheet)], self._studies).rows if self._sheet else ()

    def _unassigned(self, refused: Sequence[RefusedFile]) -> dict[str, list[UnassignedFile]]:
        """Refused files by the study that their header names; files that name none are counted."""
        by_study: defaultdict[str, list[UnassignedFile]] = defaultdict(list)
        for file in refused:
            if file.study:
                review = file.reason.model_copy(update={"severity": Severity.REVIEW})
                unassigned = UnassignedFile(study=file.study, series=file.series, instance=file.instance, reason=review)
                by_study[file.study].append(unassigned)
            else:
                self.files[file.reason.code] += 1
        return by_study
