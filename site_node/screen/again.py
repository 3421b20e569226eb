"""The criteria once more, over de-identified files as they lie, where no record of a site says what was decided."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from shared.ids import StudyKey
from shared.protocol.criteria import Criteria
from site_node.screen.decide import assess
from site_node.study import ClinicalRow, Instance, Reason, Received

_NO_KEY = StudyKey("0" * 32)


class ScreenedFile(NamedTuple):
    """A file, and the UIDs of its instance and series."""

    path: Path
    instance: str
    series: str


class Concern(NamedTuple):
    """A reason, and the instances that it is about; none where it is about the study as a whole."""

    reason: Reason
    instances: tuple[str, ...]


def screen_again(
    files: Iterable[ScreenedFile], *, criteria: Criteria, clinical: Mapping[str, str | int | float | None] | None
) -> Iterator[Concern]:
    """Every reason against the files; without a clinical row no clinical rule applies."""
    instances = tuple(
        Instance(
            path=file.path,
            size=0,
            sop_instance_uid=file.instance,
            sop_class_uid="",
            series_instance_uid=file.series,
            transfer_syntax_uid="",
        )
        for file in files
    )
    row = None if clinical is None else ClinicalRow(row=1, keys={}, values=dict(clinical))
    study = Received(key=_NO_KEY, study_instance_uid="", identity=None, instances=instances)
    assessment = assess(study, criteria=criteria, clinical=row, clinical_checked=row is not None)
    of_files = {why for entry in assessment.unreadable for why in entry.reasons}
    yield from (Concern(why, ()) for why in assessment.reasons if why not in of_files)
    for entry in (*assessment.unreadable, *(entry for series in assessment.series for entry in series.left_out)):
        yield from (Concern(why, (entry.instance.sop_instance_uid,)) for why in entry.reasons)
    for series in assessment.series:
        kept = tuple(instance.sop_instance_uid for instance in series.kept)
        yield from (Concern(why, kept) for why in series.reasons if kept)
