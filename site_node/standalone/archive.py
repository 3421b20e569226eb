"""A whole source: an engine scans every file and processes every study once; then each file has an outcome."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from shared.errors import NoDicomFound, error_for
from shared.ids import StudyKey
from site_node.receive.folder import NO_DICOM
from site_node.receive.source import candidates
from site_node.standalone.engine import Engine
from site_node.standalone.progress import progress
from site_node.standalone.reasons import outcome_for, unreadable_outcome
from site_node.standalone.resume import Journal, exclusive_run
from site_node.standalone.tasks import (
    FileFacts,
    FileLocation,
    FileOutcome,
    FileScan,
    Job,
    JobFailure,
    Result,
    ScanTask,
    StudyFile,
    StudyResult,
    StudyTask,
    Task,
)
from site_node.standalone.worker import perform
from site_node.standalone.worker_context import open_worker_context

_FILES_PER_SCAN = 64
T = TypeVar("T", ScanTask, StudyTask)


class RunReport(NamedTuple):
    """The input files by name below the source, in its order, and the outcome of each. The names are PHI."""

    names: tuple[str, ...]
    outcomes: tuple[FileOutcome, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many files had each outcome."""
        return dict(sorted(Counter(str(file.outcome) for file in self.outcomes).items()))

    def check(self, source: Path) -> None:
        """Raise `NoDicomFound` where nothing in the source looks like DICOM."""
        if not any(file.output or {reason.code for reason in file.reasons} - NO_DICOM for file in self.outcomes):
            raise NoDicomFound(source=str(source))


class _InputFiles:
    """The input files: names, locations of those that can be opened, and outcomes as they become known."""

    def __init__(self, source: Path) -> None:
        self.names: list[str] = []
        self.outcomes: dict[int, FileOutcome] = {}
        self.locations: list[FileLocation] = []
        for number, candidate in enumerate(candidates(source)):
            self.names.append(candidate.name)
            if candidate.path is None or candidate.refusal is not None:
                self.outcomes[number] = unreadable_outcome(candidate.refusal or "unreadable")
            else:
                self.locations.append(FileLocation(number, str(candidate.path), candidate.member))


def deidentify_archive(source: Path, job: Job, engine: Engine) -> RunReport:
    """De-identify a folder, zip archive or DICOMDIR into `job.out`, which must exist.

    After an interruption the same call continues. Raises `SourceMissing`, `HomeBusy`, `KeyFileMissing` and its like,
    `PixelCheckUnavailable`.
    """
    context = open_worker_context(job)  # before anything is read, so that a wrong key is reported at once
    with exclusive_run(job.out):
        files = _InputFiles(source)
        work = partial(perform, job)
        scanned = _scan(files, engine, work)
        tasks = list(_study_tasks(files, scanned))
        journal = Journal(job, context.profile.digest, context.pseudonyms)
        finished = False
        try:
            _process(files, tasks, journal, engine, work)
            finished = True
        finally:
            journal.close(finished=finished)
    return RunReport(tuple(files.names), tuple(files.outcomes[number] for number in range(len(files.names))))


def _scan(files: _InputFiles, engine: Engine, work: Callable[[Task], Result]) -> list[tuple[FileLocation, FileFacts]]:
    """The facts of every file, without those whose worker failed. A file that kills its worker is isolated."""
    facts: dict[int, FileFacts] = {}
    with progress("Looking", len(files.locations)) as advance:
        starts = range(0, len(files.locations), _FILES_PER_SCAN)
        chunks = [files.locations[start : start + _FILES_PER_SCAN] for start in starts]
        while chunks:
            unscanned: list[FileLocation] = []
            for task, result in _results(engine, work, [ScanTask(tuple(chunk)) for chunk in chunks]):
                if result is None and len(task.locations) > 1:
                    unscanned += task.locations
                    continue
                advance(len(task.locations))
                facts |= {file.number: file for file in result.files} if isinstance(result, FileScan) else {}
                missed = outcome_for("worker-died" if result is None else "internal-error")
                files.outcomes |= {at.number: missed for at in task.locations if at.number not in facts}
            chunks = [[location] for location in unscanned]
    for file in facts.values():
        if file.refusal is not None:
            files.outcomes[file.number] = unreadable_outcome(file.refusal)
    return [(location, facts[location.number]) for location in files.locations if location.number in facts]


def _study_tasks(files: _InputFiles, scanned: Sequence[tuple[FileLocation, FileFacts]]) -> Iterator[StudyTask]:
    """The studies, in the order of their first files. An instance in two studies is refused in both."""
    studies_of: dict[str, set[StudyKey | None]] = defaultdict(set)
    for _, facts in scanned:
        if facts.refusal is None:
            studies_of[facts.instance].add(facts.study)
    study_files: dict[StudyKey, list[StudyFile]] = defaultdict(list)
    broken: set[StudyKey | None] = set()
    minors: set[StudyKey | None] = set()
    for location, facts in scanned:
        minors |= {facts.study} if facts.minor else set()
        if facts.refusal is None and len(studies_of[facts.instance]) > 1:
            files.outcomes[facts.number] = unreadable_outcome("other-bytes")
        if facts.number in files.outcomes or facts.study is None or facts.stamp is None:
            broken.add(facts.study)
        else:
            study_files[facts.study].append(StudyFile(location, facts.stamp))
    for study, members in study_files.items():
        yield StudyTask(study, tuple(members), minor=study in minors, broken=study in broken)


def _process(
    files: _InputFiles, tasks: Iterable[StudyTask], journal: Journal, engine: Engine, work: Callable[[Task], Result]
) -> None:
    """Process every study that no previous run completed."""
    with progress("De-identifying", len(files.locations)) as advance:
        todo = []
        for task in tasks:
            known = journal.result(task)
            if known is None:
                todo.append(task)
            else:
                _record(files, task, known)
                advance(len(task.files))
        for task, result in _results(engine, work, todo):
            died = StudyResult(tuple(outcome_for("worker-died") for _ in task.files))
            study_result = result if isinstance(result, StudyResult) else died
            journal.add(task, study_result)
            _record(files, task, study_result)
            advance(len(task.files))


def _record(files: _InputFiles, task: StudyTask, result: StudyResult) -> None:
    files.outcomes.update(zip((file.location.number for file in task.files), result.outcomes, strict=True))


def _results(engine: Engine, work: Callable[[Task], Result], tasks: Sequence[T]) -> Iterator[tuple[T, Result | None]]:
    """Each task with its result; raises the error of a worker that cannot work at all."""
    for task, result in engine.run(work, tasks):
        if isinstance(result, JobFailure):
            raise error_for(result.code, result.fields)
        yield task, result
