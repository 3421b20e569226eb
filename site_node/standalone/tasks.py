"""What an engine is given to do and gives back.

A task names files, so it may hold a patient's name; the key is named by its path and never travels. A result holds no
PHI: files by their number in the source, and otherwise new identifiers, codes and sentences only.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from shared.frozen import Frozen
from shared.ids import SiteId, StudyKey
from site_node.study import Ending, Reason

DEIDENTIFIED: Literal["deidentified"] = "deidentified"


class Job(Frozen):
    """What holds for a whole run; every worker opens it for itself."""

    site_id: SiteId
    key_file: Path  # readable wherever a worker runs
    profile: str
    out: Path  # absolute
    validated: bool = True
    pixel_check: bool = True
    whole_studies: bool = False


class FileLocation(NamedTuple):
    """Where one input file lies: a file, or a member of an archive by its place in the archive's directory."""

    number: int  # of the input file, from 0, in the source's order
    path: str
    member: int | None = None


class Look(NamedTuple):
    """Say of each file which study it belongs to."""

    places: tuple[FileLocation, ...]


Stamp = tuple[int, int, int, int]  # device, inode, size in bytes, time of change in ns


class Seen(NamedTuple):
    """What one file says of itself. `study` is `None` where it does not say it."""

    number: int
    stamp: Stamp | None = None
    refusal: str | None = None  # a code of `receive.reading.MESSAGES`
    study: StudyKey | None = None
    instance: str = ""  # its new UID
    minor: bool = False  # its age or birth date says under 18


class FileScan(NamedTuple):
    """What the files of a `Look` say, as far as they were looked at."""

    seen: tuple[Seen, ...]


class Member(NamedTuple):
    """A file of a study, as it was when it was looked at."""

    place: FileLocation
    stamp: Stamp


class StudyTask(NamedTuple):
    """One study to work on."""

    study: StudyKey
    members: tuple[Member, ...]
    minor: bool
    broken: bool  # a file of it was already left out


class FileOutcome(NamedTuple):
    """What became of one input file; `output` is relative to the output folder."""

    outcome: Literal["deidentified"] | Ending
    reasons: tuple[Reason, ...] = ()
    output: str | None = None


class Done(NamedTuple):
    """The fate of each member of a unit, in the unit's order."""

    fates: tuple[FileOutcome, ...]


class Failed(NamedTuple):
    """Why no task of this job can be done: an error's code and fields."""

    code: str
    fields: dict[str, str]


Task = Look | StudyTask
Result = FileScan | Done | Failed
