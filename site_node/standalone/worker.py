"""Perform one task, in whatever process: only results leave, never an exception."""

from functools import lru_cache, partial

from shared.durable import is_full_disk
from shared.errors import ProtocolError, SettingsError
from site_node.standalone.reasons import outcome_for
from site_node.standalone.sources import scan_file
from site_node.standalone.study import process_study
from site_node.standalone.tasks import FileScan, Job, JobFailure, Result, ScanTask, StudyResult, Task
from site_node.standalone.worker_context import WorkerContext, open_worker_context


def perform(job: Job, task: Task) -> Result:
    """Scan files, or process a study. Raises nothing: an exception's text may hold a patient's value."""
    try:
        context = _context(job)
        if isinstance(task, ScanTask):
            scan = partial(scan_file, assign_broken=job.whole_studies)
            return FileScan(tuple(scan(at, context.archives, context.pseudonyms) for at in task.locations))
        return process_study(task, context)
    except (SettingsError, ProtocolError) as error:
        return JobFailure(error.code, error.fields)
    except Exception as error:  # noqa: BLE001 -- as the docstring says
        code = _code(error)
        if isinstance(task, ScanTask):
            return FileScan(())
        return StudyResult(tuple(outcome_for(code) for _ in task.files))


def close(job: Job) -> None:
    """Close what this process opened for a job."""
    if _context.cache_info().currsize:
        _context(job).close()
        _context.cache_clear()


@lru_cache(maxsize=1)
def _context(job: Job) -> WorkerContext:
    return open_worker_context(job)


def _code(error: Exception) -> str:
    if is_full_disk(error):
        return "disk-full"
    return "too-large" if isinstance(error, MemoryError) else "internal-error"
