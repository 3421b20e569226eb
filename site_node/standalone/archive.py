"""A whole source: every file looked at, every study worked on once, by whatever engine; then each file has a fate."""

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
from site_node.standalone.reasons import fate, unreadable_fate
from site_node.standalone.resume import Journal, only_run
from site_node.standalone.tasks import (
    Done,
    Failed,
    FileLocation,
    FileOutcome,
    FileScan,
    Job,
    Look,
    Member,
    Result,
    Seen,
    StudyTask,
    Task,
)
from site_node.standalone.worker import perform
from site_node.standalone.worker_context import open_worker_context

_LOOKED_AT_ONCE = 64  # files
T = TypeVar("T", Look, StudyTask)


class RunReport(NamedTuple):
    """The input files by name below the source, in its order, and the fate of each. The names are PHI."""

    names: tuple[str, ...]
    fates: tuple[FileOutcome, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many files had each outcome."""
        return dict(sorted(Counter(str(fate.outcome) for fate in self.fates).items()))

    def check(self, source: Path) -> None:
        """Raise `NoDicomFound` where nothing in the source looks like DICOM."""
        if not any(one.output or {reason.code for reason in one.reasons} - NO_DICOM for one in self.fates):
            raise NoDicomFound(source=str(source))


class _Files:
    """The input files; where each lies, if it can be opened at all, and its fate once that is known."""

    def __init__(self, source: Path) -> None:
        self.names: list[str] = []
        self.fates: dict[int, FileOutcome] = {}
        self.places: list[FileLocation] = []
        for number, one in enumerate(candidates(source)):
            self.names.append(one.name)
            if one.path is None or one.refusal is not None:
                self.fates[number] = unreadable_fate(one.refusal or "unreadable")
            else:
                self.places.append(FileLocation(number, str(one.path), one.member))


def deidentify_archive(source: Path, job: Job, engine: Engine) -> RunReport:
    """De-identify a folder, zip archive or DICOMDIR into `job.out`, which must exist.

    Interrupted, the same call goes on where it stopped. Raises `SourceMissing`, `HomeBusy`, `KeyFileMissing` and its
    like, `PixelCheckUnavailable`.
    """
    bench = open_worker_context(job)  # before anything is read: a wrong key is told at once
    with only_run(job.out):
        files = _Files(source)
        work = partial(perform, job)
        seen = _looked(files, engine, work)
        units = list(_units(files, seen))
        journal = Journal(job, bench.profile.digest, bench.pseudonyms)
        finished = False
        try:
            _worked(files, units, journal, engine, work)
            finished = True
        finally:
            journal.close(finished=finished)
    return RunReport(tuple(files.names), tuple(files.fates[number] for number in range(len(files.names))))


def _looked(files: _Files, engine: Engine, work: Callable[[Task], Result]) -> list[tuple[FileLocation, Seen]]:
    """What every file says of itself, but those that are refused for it. A file that kills its worker is found."""
    seen: dict[int, Seen] = {}
    with progress("Looking", len(files.places)) as advance:
        chunks = [files.places[at : at + _LOOKED_AT_ONCE] for at in range(0, len(files.places), _LOOKED_AT_ONCE)]
        while chunks:
            died: list[FileLocation] = []
            for task, result in _results(engine, work, [Look(tuple(chunk)) for chunk in chunks]):
                if result is None and len(task.places) > 1:
                    died += task.places
                    continue
                advance(len(task.places))
                seen |= {one.number: one for one in result.seen} if isinstance(result, FileScan) else {}
                missed = fate("worker-died" if result is None else "internal-error")
                files.fates |= {place.number: missed for place in task.places if place.number not in seen}
            chunks = [[place] for place in died]
    for one in seen.values():
        if one.refusal is not None:
            files.fates[one.number] = unreadable_fate(one.refusal)
    return [(place, seen[place.number]) for place in files.places if place.number in seen]


def _units(files: _Files, seen: Sequence[tuple[FileLocation, Seen]]) -> Iterator[StudyTask]:
    """The studies, in the order of their first files. One instance cannot be of two studies: neither is trusted."""
    owners: dict[str, set[StudyKey | None]] = defaultdict(set)
    for _, one in seen:
        if one.refusal is None:
            owners[one.instance].add(one.study)
    members: dict[StudyKey, list[Member]] = defaultdict(list)
    broken: set[StudyKey | None] = set()
    minors: set[StudyKey | None] = set()
    for place, one in seen:
        minors |= {one.study} if one.minor else set()
        if one.refusal is None and len(owners[one.instance]) > 1:
            files.fates[one.number] = unreadable_fate("other-bytes")
        if one.number in files.fates or one.study is None or one.stamp is None:
            broken.add(one.study)
        else:
            members[one.study].append(Member(place, one.stamp))
    for study, found in members.items():
        yield StudyTask(study, tuple(found), minor=study in minors, broken=study in broken)


def _worked(
    files: _Files, units: Iterable[StudyTask], journal: Journal, engine: Engine, work: Callable[[Task], Result]
) -> None:
    """Every study that no earlier run did."""
    with progress("De-identifying", len(files.places)) as advance:
        todo = []
        for unit in units:
            known = journal.done(unit)
            if known is None:
                todo.append(unit)
            else:
                _tell(files, unit, known)
                advance(len(unit.members))
        for unit, result in _results(engine, work, todo):
            done = result if isinstance(result, Done) else Done(tuple(fate("worker-died") for _ in unit.members))
            journal.add(unit, done)
            _tell(files, unit, done)
            advance(len(unit.members))


def _tell(files: _Files, unit: StudyTask, done: Done) -> None:
    files.fates.update(zip((member.place.number for member in unit.members), done.fates, strict=True))


def _results(engine: Engine, work: Callable[[Task], Result], tasks: Sequence[T]) -> Iterator[tuple[T, Result | None]]:
    """Raises the error of a worker that cannot work at all."""
    for task, result in engine.run(work, tasks):
        if isinstance(result, Failed):
            raise error_for(result.code, result.fields)
        yield task, result
