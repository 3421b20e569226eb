"""What an engine receives and returns.

A task names files, so it may hold a patient's name; the key is named by its path and never travels. A result holds no
PHI: only new identifiers, codes and sentences.
"""

from pathlib import Path
from typing import Literal, NamedTuple, Self

from shared.frozen import Frozen
from shared.ids import SiteId
from site_node.reasons import reason_for
from site_node.study import Ending, Reason, Received, Severity

DEIDENTIFIED: Literal["deidentified"] = "deidentified"
# Independent of the files: another run may end otherwise.
TRANSIENT = frozenset({"disk-full", "internal-error", "too-large", "worker-died"})


class Job(Frozen):
    """The options of a whole run; every worker opens its files for itself."""

    site_id: SiteId
    key_file: Path  # readable wherever a worker runs
    profile: str
    out: Path  # absolute
    validated: bool = True
    pixel_check: bool = True
    whole_studies: bool = False


class StudyTask(NamedTuple):
    """One study to process; its files are read where they lie."""

    study: Received
    held: Reason | None  # why a person must see it first
    incomplete: bool  # a file of it was refused


class FileOutcome(NamedTuple):
    """What became of one input file; `output` is relative to the output folder."""

    outcome: Literal["deidentified"] | Ending
    reasons: tuple[Reason, ...] = ()
    output: str | None = None

    @classmethod
    def left_out(cls, code: str, ending: Ending = Ending.REFUSED) -> Self:
        """The outcome of a file that is left out for a reason of the catalogue."""
        severity = Severity.REVIEW if ending is Ending.QUARANTINED else Severity.REJECT
        return cls(ending, (reason_for(code, severity=severity),))

    @property
    def is_transient(self) -> bool:
        """Whether another run may end otherwise without any change of the file."""
        return any(reason.code in TRANSIENT for reason in self.reasons)


class StudyResult(NamedTuple):
    """The outcome of each instance of a study, in the order of its task."""

    outcomes: tuple[FileOutcome, ...]


class JobFailure(NamedTuple):
    """Why no task of this job can be done: an error's code and fields."""

    code: str
    fields: dict[str, str]


Result = StudyResult | JobFailure
