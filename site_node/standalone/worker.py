"""The work on one task, in whatever process it is done: nothing but results leaves, whatever happens."""

import errno
from functools import lru_cache

from shared.errors import DiskFull, ProtocolError, SettingsError
from site_node.standalone.reasons import fate
from site_node.standalone.sources import look
from site_node.standalone.study import work_on
from site_node.standalone.tasks import Done, Failed, FileScan, Job, Look, Result, StudyTask, Task
from site_node.standalone.worker_context import WorkerContext, open_worker_context

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def perform(job: Job, task: Task) -> Result:
    """Look at files, or work on a study. Raises nothing: an exception's text may hold a patient's value."""
    try:
        bench = _bench(job)
        if isinstance(task, Look):
            insist = job.whole_studies
            return FileScan(
                tuple(look(place, bench.archives, bench.pseudonyms, insist=insist) for place in task.places)
            )
        return work_on(task, bench)
    except (SettingsError, ProtocolError) as error:
        return Failed(error.code, error.fields)
    except Exception as error:  # noqa: BLE001 -- as the docstring says
        code = _code(error)
        return Done(tuple(fate(code) for _ in task.members)) if isinstance(task, StudyTask) else FileScan(())


def close(job: Job) -> None:
    """Let go of what this process opened for a job."""
    if _bench.cache_info().currsize:
        _bench(job).close()
        _bench.cache_clear()


@lru_cache(maxsize=1)
def _bench(job: Job) -> WorkerContext:
    return open_worker_context(job)


def _code(error: Exception) -> str:
    if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL):
        return "disk-full"
    return "too-large" if isinstance(error, MemoryError) else "internal-error"
