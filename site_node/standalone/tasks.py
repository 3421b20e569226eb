"""What an engine receives and returns.

A task names files, so it may hold a patient's name; the key is named by its path and never travels. A result holds no
PHI: files by their number in the source, and otherwise only new identifiers, codes and sentences.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from shared.frozen import Frozen
from shared.ids import SiteId, StudyKey
from site_node.study import Ending, Reason

DEIDENTIFIED: Literal["deidentified"] = "deidentified"


class Job(Frozen):
    """The options of a whole run; every worker opens its files for itself."""

    site_id: SiteId
    key_file: Path  # readable wherever a worker runs
    profile: str
    out: Path  # absolute
    validated: bool = True
    pixel_check: bool = True
    whole_studies: bool = False


class FileLocation(NamedTuple):
    """Where one input file lies: a file, or a member of an archive by its index in the archive's directory."""

    number: int  # of the input file, from 0, in the source's order
    path: str
    member: int | None = None


class ScanTask(NamedTuple):
    """Files to scan for the study that each belongs to."""

    locations: tuple[FileLocation, ...]


Stamp = tuple[int, int, int, int]  # device, inode, size in bytes, time of change in ns


class FileFacts(NamedTuple):
    """What the scan of one file read. `study` is `None` where the file names none."""

    number: int
    stamp: Stamp | None = None
    refusal: str | None = None  # a code of the catalogue of reasons
    study: StudyKey | None = None
    instance: str = ""  # its new UID
    minor: bool = False  # its age or birth date says under 18


class FileScan(NamedTuple):
    """The facts of the files of a `ScanTask`; files that could not be scanned are missing."""

    files: tuple[FileFacts, ...]


class StudyFile(NamedTuple):
    """A file of a study, with its stamp when it was scanned."""

    location: FileLocation
    stamp: Stamp


class StudyTask(NamedTuple):
    """One study to process."""

    study: StudyKey
    files: tuple[StudyFile, ...]
    minor: bool
    broken: bool  # a file of it was already left out


class FileOutcome(NamedTuple):
    """What became of one input file; `output` is relative to the output folder."""

    outcome: Literal["deidentified"] | Ending
    reasons: tuple[Reason, ...] = ()
    output: str | None = None


class StudyResult(NamedTuple):
    """The outcome of each file of a study, in the order of its task."""

    outcomes: tuple[FileOutcome, ...]


class JobFailure(NamedTuple):
    """Why no task of this job can be done: an error's code and fields."""

    code: str
    fields: dict[str, str]


Task = ScanTask | StudyTask
Result = FileScan | StudyResult | JobFailure
