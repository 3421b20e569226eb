"""Process one study, in whatever process: only results leave, never an exception."""

import errno
from functools import lru_cache
from pathlib import Path

from shared.errors import DiskFull, ProtocolError, RicordError, SettingsError
from site_node.node.pipeline import INTERNAL_ERROR
from site_node.standalone.job import DISK_FULL, FileOutcome, Job, JobFailure, Result, StudyResult, StudyTask
from site_node.standalone.temporary_node import TemporaryNode
from site_node.study import Ending

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def perform(job: Job, scratch: Path, task: StudyTask) -> Result:
    """Process a study. Raises nothing of ours or the system's: an exception's text may hold a patient's value."""
    try:
        return StudyResult(node_of(job, scratch).process(task))
    except (SettingsError, ProtocolError) as error:
        return JobFailure(error.code, error.fields)
    except (RicordError, OSError) as error:
        is_full = isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL)
        outcome = FileOutcome(Ending.REFUSED, (DISK_FULL if is_full else INTERNAL_ERROR,))
        return StudyResult((outcome,) * len(task.study.instances))


@lru_cache(maxsize=1)
def node_of(job: Job, scratch: Path) -> TemporaryNode:
    """The node of this process; raises `KeyFileMissing`, `KeyFileOpen`, `KeyFileInvalid`, `ProtocolInvalid`."""
    return TemporaryNode(job, scratch)
