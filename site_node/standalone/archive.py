"""A whole source: each file is read where it lies, an engine processes each study, and every file has an outcome."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from shared.errors.inputs import InvalidArgument
from shared.errors.tree import error_for
from shared.progress import progress
from site_node.node.workers import Engine
from site_node.receive.folder import InstanceName, Reception, receive_folder
from site_node.receive.source import count_files
from site_node.standalone.job import FileOutcome, Job, JobFailure, Result, StudyResult, StudyTask
from site_node.standalone.place import output_name, remove_output
from site_node.standalone.resume import Journal, check_key, exclusive_run
from site_node.standalone.scratch import scratch_folder
from site_node.standalone.worker import node_of, perform
from site_node.study import Ending


class RunReport(NamedTuple):
    """The input files by name below the source, in its order, and the outcome of each. The names are PHI."""

    names: tuple[str, ...]
    outcomes: tuple[FileOutcome, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many files had each outcome."""
        return dict(sorted(Counter(str(file.outcome) for file in self.outcomes).items()))


def deidentify_archive(source: Path, job: Job, engine: Engine) -> RunReport:
    """De-identify a folder, zip archive or DICOMDIR into `job.out`, which must exist.

    After an interruption the same call continues. Raises `SourceMissing`, `NoDicomFound`, `HomeBusy`,
    `KeyFileMissing` and its like, `PixelCheckUnavailable`, and `InvalidArgument` where `job.out` is of another key.
    """
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder())
        stack.callback(engine.close)  # before the folder that its workers write into is removed
        node = node_of(job, scratch)  # before anything is read, so that a wrong key is reported at once
        stack.callback(node_of.cache_clear)
        stack.callback(node.close)
        stack.enter_context(exclusive_run(job.out))
        check_key(job.out, node.pseudonyms)
        with progress("Looking", partial(count_files, source)) as advance:
            spool, pseudonyms = scratch / "spool", node.pseudonyms
            reception = receive_folder(source, spool, pseudonyms, in_place=True, on_file=advance)
        if not engine.is_local and any(file.stamp is None for study in reception.studies for file in study.instances):
            problem = "an archive is unpacked on this machine only; unpack it where every worker reads it"
            raise InvalidArgument(name="SOURCE", problem=problem)
        for study in reception.conflicts:
            for instance in study.instances:
                if name := output_name(study, instance, node.pseudonyms):
                    remove_output(name, job.out)
        journal = Journal(job, node.profile.digest, node.pseudonyms)
        finished = False
        try:
            outcomes = _process(_tasks(reception), journal, engine, partial(perform, job, scratch))
            finished = True
        finally:
            journal.close(finished=finished)
    refused = {file.source: FileOutcome(file.ending, (file.reason,)) for file in reception.refused}
    files = (refused.get(name) or outcomes[reception.sources[name]] for name in reception.names)
    return RunReport(reception.names, tuple(files))


def _tasks(reception: Reception) -> list[StudyTask]:
    incomplete = {file.study for file in reception.refused} | {
        study.study_instance_uid for study in reception.conflicts
    }
    return [
        StudyTask(study, reception.held.get(study.key), incomplete=study.study_instance_uid in incomplete)
        for study in reception.studies
    ]


def _process(
    tasks: Sequence[StudyTask], journal: Journal, engine: Engine, work: Callable[[StudyTask], Result]
) -> dict[InstanceName, FileOutcome]:
    """The outcome of every instance; a study that a previous run completed is not processed again."""
    outcomes: dict[InstanceName, FileOutcome] = {}

    def record(task: StudyTask, result: StudyResult) -> None:
        names = ((task.study.key, instance.name) for instance in task.study.instances)
        outcomes.update(zip(names, result.outcomes, strict=True))
        advance(len(result.outcomes))

    with progress("De-identifying", lambda: sum(len(task.study.instances) for task in tasks)) as advance:
        todo = []
        for task in tasks:
            known = journal.result(task)
            if known is None:
                todo.append(task)
            else:
                record(task, known)
        for task, result in engine.run(work, todo):
            if isinstance(result, JobFailure):
                raise error_for(result.code, result.fields)
            died = (FileOutcome.left_out("worker-died", Ending.QUARANTINED),) * len(task.study.instances)
            processed = result or StudyResult(died)
            journal.add(task, processed)
            record(task, processed)
    return outcomes
