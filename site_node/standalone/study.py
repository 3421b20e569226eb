"""One study on its own: its files are read where they lie, de-identified, looked at twice and put in their place.

What goes wrong with a file ends that file, and its study only where that was asked for or nobody can tell which file
it is.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree

from shared.errors import DiskFull
from site_node.receive.folder import MIXED_PATIENTS, NO_PATIENT_ID
from site_node.receive.reading import data_digest
from site_node.standalone.arrival import Arrived, arrive
from site_node.standalone.place import name_of, put, take_away
from site_node.standalone.reasons import fate, unreadable_fate
from site_node.standalone.stages import come_through
from site_node.standalone.tasks import DEIDENTIFIED, Done, FileOutcome, StudyTask
from site_node.standalone.worker_context import WorkerContext
from site_node.study import Ending, Included, Reason, Received

UNFINISHED = ".unfinished"  # in the output folder: what is being made, and the journal; no PHI
Fates = dict[int, FileOutcome]  # by the number of the input file


def work_on(unit: StudyTask, bench: WorkerContext) -> Done:
    """The fate of every member of a study, whose outputs are in their place then. Raises `OSError`."""
    fates: Fates = {}
    staging = bench.job.out / UNFINISHED / unit.study
    rmtree(staging, ignore_errors=True)  # what a killed worker left
    try:
        with tempfile.TemporaryDirectory(prefix="ricord-") as spool:
            arrived = _arrived(unit, bench, Path(spool), fates)
            made = _made(unit, arrived, bench, staging, fates)
        names = {one.number: name for one in arrived if (name := name_of(one.header, bench.pseudonyms))}
        _settle(names, made, bench.job.out, fates)
    finally:
        rmtree(staging, ignore_errors=True)
    return Done(tuple(fates[member.place.number] for member in unit.members))


def _arrived(unit: StudyTask, bench: WorkerContext, spool: Path, fates: Fates) -> list[Arrived]:
    found = [arrive(member, unit.study, bench, spool) for member in unit.members]
    fates.update(
        (member.place.number, one)
        for member, one in zip(unit.members, found, strict=True)
        if not isinstance(one, Arrived)
    )
    return [one for one in found if isinstance(one, Arrived)]


def _made(
    unit: StudyTask, arrived: Sequence[Arrived], bench: WorkerContext, staging: Path, fates: Fates
) -> dict[int, Path]:
    """The new file of each input file that is taken; the others get their fate. Of equal files one is worked on."""
    going = _going(unit, arrived, fates)
    if not going:
        return {}
    first = {one.instance.sop_instance_uid: one for one in reversed(going)}
    study = _included(unit, list(first.values()))
    stamps = {one.instance.path: one.member.stamp for one in going if one.member.place.member is None}
    try:
        staging.mkdir(parents=True)
        new, left = come_through(study, bench, staging, stamps)
    except DiskFull:
        new, left = (), {instance.path: fate("disk-full") for instance in study.kept}
    by_source = {one.source.path: one.path for one in new}
    made = {}
    for one in going:
        path = first[one.instance.sop_instance_uid].instance.path
        if path in by_source:
            made[one.number] = by_source[path]
        else:
            fates[one.number] = left[path]
    return _all_or_none(unit, bench, made, fates)


def _all_or_none(unit: StudyTask, bench: WorkerContext, made: dict[int, Path], fates: Fates) -> dict[int, Path]:
    """With `whole_studies` nothing of a study is taken unless all of it is."""
    if not bench.job.whole_studies or not (fates or unit.broken):
        return made
    waits = any(one.outcome == Ending.QUARANTINED for one in fates.values())
    fates.update(dict.fromkeys(made, fate("whole-study", Ending.QUARANTINED if waits else Ending.REFUSED)))
    return {}


def _settle(names: dict[int, str], made: dict[int, Path], out: Path, fates: Fates) -> None:
    """Put what is taken in its place; no output of the other files stays from an earlier run."""
    for number, name in names.items():
        if number not in made:
            take_away(name, out)
    put({names[number]: path for number, path in made.items()}, out)
    fates.update((number, FileOutcome(DEIDENTIFIED, output=names[number])) for number in made)


def _going(unit: StudyTask, arrived: Sequence[Arrived], fates: Fates) -> list[Arrived]:
    """The files to work on; those of a child, of nobody or of several patients, and contradicting ones, are not."""
    differing = _several(arrived, lambda one: one.instance.sha256)  # as files; their data may yet be the same
    contradicting = {one.number for one in _several(differing, _data)}
    mixed = len({one.header.identity for one in arrived} - {None}) > 1
    going = []
    for one in arrived:
        if one.number in contradicting:
            fates[one.number] = unreadable_fate("other-bytes")
        elif mixed or one.header.identity is None:
            fates[one.number] = _quarantined(MIXED_PATIENTS if mixed else NO_PATIENT_ID)
        elif unit.minor:
            fates[one.number] = fate("under-age", Ending.EXCLUDED, "PatientBirthDate")
        else:
            going.append(one)
    return going


def _several(files: Sequence[Arrived], digest: Callable[[Arrived], str]) -> list[Arrived]:
    """Those of an instance of which there are several, by `digest`."""
    found: dict[str, dict[str, list[Arrived]]] = defaultdict(lambda: defaultdict(list))
    for one in files:
        found[one.instance.sop_instance_uid][digest(one)].append(one)
    return [one for versions in found.values() if len(versions) > 1 for same in versions.values() for one in same]


def _data(one: Arrived) -> str:
    """What tells versions of an instance apart, as in the node: the data set, whoever wrote the file around it."""
    try:
        with one.instance.path.open("rb") as file:
            return data_digest(file, one.header)
    except OSError:  # it went away meanwhile
        return one.instance.sha256


def _quarantined(reason: Reason) -> FileOutcome:
    return FileOutcome(Ending.QUARANTINED, (reason,))


def _included(unit: StudyTask, files: Sequence[Arrived]) -> Included:
    """What goes on, as a study of its own."""
    instances = tuple(sorted((one.instance for one in files), key=lambda one: one.path))
    study = Received(
        key=unit.study,
        study_instance_uid=files[0].header.study_instance_uid,
        identity=files[0].header.identity,
        instances=instances,
    )
    return Included(study=study, kept=instances, left_out=(), warnings=())
