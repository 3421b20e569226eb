"""Process one study, in whatever process: only results leave, never an exception."""

import sqlite3
from functools import lru_cache
from pathlib import Path

from shared.durable import is_full_disk
from shared.errors.base import RicordError
from shared.errors.protocol import ProtocolError
from shared.errors.settings import SettingsError
from site_node.standalone.job import FileOutcome, Job, JobFailure, Result, StudyResult, StudyTask
from site_node.standalone.temporary_node import TemporaryNode


def perform(job: Job, scratch: Path, task: StudyTask) -> Result:
    """Process a study. Raises nothing that a study brings about: an exception's text may hold a patient's value."""
    try:
        return StudyResult(node_of(job, scratch).process(task))
    except (SettingsError, ProtocolError) as error:
        return JobFailure(error.code, error.fields)
    except (RicordError, OSError, sqlite3.Error) as error:
        outcome = FileOutcome.left_out("disk-full" if is_full_disk(error) else "internal-error")
        return StudyResult((outcome,) * len(task.study.instances))


@lru_cache(maxsize=1)
def node_of(job: Job, scratch: Path) -> TemporaryNode:
    """The node of this process; raises `KeyFileMissing`, `KeyFileOpen`, `KeyFileInvalid`, `ProtocolInvalid`."""
    return TemporaryNode(job, scratch)
