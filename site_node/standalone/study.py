"""Process one study: read its files where they lie, de-identify, inspect, validate and publish the outputs.

A problem with a file ends that file. It ends the study only where that was asked for, or where the file at fault cannot
be found.
"""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree

from shared.errors import DiskFull
from site_node.dicom.data_digest import data_digest
from site_node.receive.folder import MIXED_PATIENTS, NO_PATIENT_ID
from site_node.standalone.arrival import PreparedFile, prepare
from site_node.standalone.place import output_name, publish, remove_output
from site_node.standalone.reasons import outcome_for, unreadable_outcome
from site_node.standalone.stages import run_stages
from site_node.standalone.tasks import DEIDENTIFIED, FileOutcome, StudyResult, StudyTask
from site_node.standalone.worker_context import WorkerContext
from site_node.study import Ending, Included, Reason, Received

UNFINISHED = ".unfinished"  # in the output folder: staged outputs and the journal; no PHI
Outcomes = dict[int, FileOutcome]  # by the number of the input file


def process_study(task: StudyTask, context: WorkerContext) -> StudyResult:
    """The outcome of every file of a study, after its outputs are published. Raises `OSError`."""
    outcomes: Outcomes = {}
    staging = context.job.out / UNFINISHED / task.study
    rmtree(staging, ignore_errors=True)  # left by a killed worker
    try:
        with tempfile.TemporaryDirectory(prefix="ricord-") as spool:
            prepared = _prepare(task, context, Path(spool), outcomes)
            outputs = _outputs(task, prepared, context, staging, outcomes)
        names = {file.number: name for file in prepared if (name := output_name(file.header, context.pseudonyms))}
        _publish(names, outputs, context.job.out, outcomes)
    finally:
        rmtree(staging, ignore_errors=True)
    return StudyResult(tuple(outcomes[file.location.number] for file in task.files))


def _prepare(task: StudyTask, context: WorkerContext, spool: Path, outcomes: Outcomes) -> list[PreparedFile]:
    prepared = []
    for file in task.files:
        result = prepare(file, task.study, context, spool)
        if isinstance(result, PreparedFile):
            prepared.append(result)
        else:
            outcomes[file.location.number] = result
    return prepared


def _outputs(
    task: StudyTask, prepared: Sequence[PreparedFile], context: WorkerContext, staging: Path, outcomes: Outcomes
) -> dict[int, Path]:
    """The output of each input file, by number; the other files get their outcome. Copies share one output."""
    eligible = _eligible(task, prepared, outcomes)
    if not eligible:
        return {}
    first = {file.instance.sop_instance_uid: file for file in reversed(eligible)}
    study = _included(task, list(first.values()))
    stamps = {file.instance.path: file.study_file.stamp for file in eligible if file.study_file.location.member is None}
    try:
        staging.mkdir(parents=True)
        instances, left_out = run_stages(study, context, staging, stamps)
    except DiskFull:
        instances, left_out = (), {instance.path: outcome_for("disk-full") for instance in study.kept}
    by_source = {instance.source.path: instance.path for instance in instances}
    outputs = {}
    for file in eligible:
        path = first[file.instance.sop_instance_uid].instance.path
        if path in by_source:
            outputs[file.number] = by_source[path]
        else:
            outcomes[file.number] = left_out[path]
    return _all_or_none(task, context, outputs, outcomes)


def _all_or_none(
    task: StudyTask, context: WorkerContext, outputs: dict[int, Path], outcomes: Outcomes
) -> dict[int, Path]:
    """With `whole_studies`, drop all outputs of a study that lacks one."""
    if not context.job.whole_studies or not (outcomes or task.broken):
        return outputs
    waits = any(outcome.outcome == Ending.QUARANTINED for outcome in outcomes.values())
    dropped = outcome_for("whole-study", Ending.QUARANTINED if waits else Ending.REFUSED)
    outcomes.update(dict.fromkeys(outputs, dropped))
    return {}


def _publish(names: dict[int, str], outputs: dict[int, Path], out: Path, outcomes: Outcomes) -> None:
    """Publish the outputs, and remove those that a previous run made of files now left out."""
    for number, name in names.items():
        if number not in outputs:
            remove_output(name, out)
    publish({names[number]: path for number, path in outputs.items()}, out)
    outcomes.update((number, FileOutcome(DEIDENTIFIED, output=names[number])) for number in outputs)


def _eligible(task: StudyTask, prepared: Sequence[PreparedFile], outcomes: Outcomes) -> list[PreparedFile]:
    """The files to de-identify: without those of a child, of no or several patients, and conflicting versions."""
    conflicting = _with_several_versions(prepared)
    mixed = len({file.header.identity for file in prepared} - {None}) > 1
    eligible = []
    for file in prepared:
        if file.number in conflicting:
            outcomes[file.number] = unreadable_outcome("other-bytes")
        elif mixed or file.header.identity is None:
            outcomes[file.number] = _quarantined(MIXED_PATIENTS if mixed else NO_PATIENT_ID)
        elif task.minor:
            outcomes[file.number] = outcome_for("under-age", Ending.EXCLUDED, "PatientBirthDate")
        else:
            eligible.append(file)
    return eligible


def _with_several_versions(files: Sequence[PreparedFile]) -> set[int]:
    """The numbers of the files of instances whose data, without file meta information, differ, as in the node."""
    by_instance: dict[str, list[PreparedFile]] = defaultdict(list)
    for file in files:
        by_instance[file.instance.sop_instance_uid].append(file)
    several = (copies for copies in by_instance.values() if len(copies) > 1 and len(set(map(_data_digest, copies))) > 1)
    return {file.number for copies in several for file in copies}


def _data_digest(file: PreparedFile) -> str:
    try:
        with file.instance.path.open("rb") as stream:
            return data_digest(stream, file.header)
    except OSError:  # removed meanwhile: equal to no other
        return str(file.number)


def _quarantined(reason: Reason) -> FileOutcome:
    return FileOutcome(Ending.QUARANTINED, (reason,))


def _included(task: StudyTask, files: Sequence[PreparedFile]) -> Included:
    """The eligible files as a study for the stages."""
    instances = tuple(sorted((file.instance for file in files), key=lambda instance: instance.path))
    study = Received(
        key=task.study,
        study_instance_uid=files[0].header.study_instance_uid,
        identity=files[0].header.identity,
        instances=instances,
    )
    return Included(study=study, kept=instances, left_out=(), warnings=())
