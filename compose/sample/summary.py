"""What was written, and what the pipeline is to make of it."""

from pathlib import Path

from shared.frozen import Frozen
from site_node.study import Ending

BURNED_IN_TEXT = "burned-in-text"  # found in the pixels, where no attribute tells of it


class ExpectedStudy(Frozen):
    """One source study and how it is to end; `code` is among the reasons of every ending but `SUBMITTED`."""

    study_instance_uid: str
    label: str  # what the study is there for
    ending: Ending
    code: str | None = None
    left_out: int = 0  # instances that do not go on with a study that does


class HospitalSummary(Frozen):
    """An archive on disk. Every name, number and day in it is invented."""

    folder: Path
    archive: Path
    sheet: Path
    studies: tuple[ExpectedStudy, ...]
    refused: dict[str, int]  # files that become part of no study, by reason code
    duplicates: int
    planted: tuple[str, ...]  # texts that must be in nothing that leaves
    burned_in: tuple[str, ...]  # texts that stand in pixels

    @property
    def expected(self) -> dict[str, ExpectedStudy]:
        """The studies by their original UID."""
        return {study.study_instance_uid: study for study in self.studies}
