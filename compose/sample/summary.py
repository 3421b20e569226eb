"""A written archive, and the outcome that the pipeline must give each study."""

from pathlib import Path

from shared.frozen import Frozen
from site_node.study import Ending

BURNED_IN_TEXT = "burned-in-text"  # in pixels that no attribute declares


class ExpectedStudy(Frozen):
    """One source study and how it must end; `code` is among the reasons of every ending but `SUBMITTED`."""

    study_instance_uid: str
    label: str  # the purpose of the study
    ending: Ending
    code: str | None = None
    left_out: int = 0  # instances that do not go on with an included study


class HospitalSummary(Frozen):
    """An archive on disk. Every name, number and day in it is invented."""

    folder: Path
    archive: Path
    sheet: Path
    studies: tuple[ExpectedStudy, ...]
    refused: dict[str, int]  # files that become part of no study, by reason code
    duplicates: int
    planted: tuple[str, ...]  # texts that must not leave
    burned_in: tuple[str, ...]  # texts in pixels

    @property
    def expected(self) -> dict[str, ExpectedStudy]:
        """The studies by their original UID."""
        return {study.study_instance_uid: study for study in self.studies}
