"""De-identify, look for burned-in text, validate: the files of one study that pass, and why the others do not.

A stage that stops a study does not say which file is at fault. So a stopped study is tried again in parts, up to a
limit, and the parts that pass are validated once more as a whole.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from shared.durable import move
from site_node.deidentify.study import deidentify
from site_node.pixels.inspect import inspect
from site_node.standalone.reasons import outcome_for
from site_node.standalone.sources import stamp_of
from site_node.standalone.tasks import FileOutcome, Stamp
from site_node.standalone.worker_context import WorkerContext
from site_node.study import Deidentified, DeidentifiedInstance, Ending, Included, LeftOut, Refused
from site_node.validate.validation import validate

_CT = "1.2.840.10008.5.1.4.1.1.2"  # CT Image Storage: only some slices of a series are inspected
_MAX_VALIDATIONS = 24  # of parts of one study

Outputs = tuple[DeidentifiedInstance, ...]
LeftOutByPath = dict[Path, LeftOut]  # by the path of the source


def run_stages(
    study: Included, context: WorkerContext, staging: Path, stamps: Mapping[Path, Stamp]
) -> tuple[Outputs, dict[Path, FileOutcome]]:
    """The new files below `staging`, and the outcome of each instance that has none. Raises `DiskFull`, `OSError`."""
    output = _deidentify(study, context, staging / "made")
    if isinstance(output, Refused):
        return (), _outcomes_of_refused(study, output, context, staging)
    left_out = {entry.instance.path: entry for entry in output.left_out}
    passing = _unchanged(output.instances, stamps, left_out)
    if context.job.pixel_check:
        passing = _without_text(output, passing, left_out, context)
    if context.job.validated:
        passing = _Validation(study, output, left_out, context, staging).valid(passing)
    return passing, {path: FileOutcome(entry.ending, entry.reasons) for path, entry in left_out.items()}


def _deidentify(study: Included, context: WorkerContext, out: Path) -> Deidentified | Refused:
    searched = context.job.pixel_check
    return deidentify(study, profile=context.profile, pseudonyms=context.pseudonyms, out=out, searched=searched)


def _outcomes_of_refused(
    study: Included, refused: Refused, context: WorkerContext, staging: Path
) -> dict[Path, FileOutcome]:
    """The outcome of each file of a refused study, de-identified alone where the study has several reasons."""
    outcomes = {}
    for instance in study.kept:
        ending, reasons = refused.ending, refused.reasons
        if len(study.kept) > 1 and len(reasons) > 1:
            alone = study.model_copy(update={"kept": (instance,)})
            result = _deidentify(alone, context, staging / "alone")
            if isinstance(result, Refused):
                ending, reasons = result.ending, result.reasons
            rmtree(staging / "alone", ignore_errors=True)
        outcomes[instance.path] = FileOutcome(ending, reasons)
    return outcomes


def _unchanged(outputs: Outputs, stamps: Mapping[Path, Stamp], left_out: LeftOutByPath) -> Outputs:
    """Leave out files whose source changed while it was de-identified."""
    sources = {file.source.path for file in outputs}
    changed = {path for path in sources if stamps.get(path) not in {None, stamp_of(path)}}
    group = [file for file in outputs if file.source.path in changed]
    return _leave_out(group, outcome_for("changed-while-reading"), outputs, left_out)


def _without_text(study: Deidentified, outputs: Outputs, left_out: LeftOutByPath, context: WorkerContext) -> Outputs:
    """Leave out files that show text: a CT series as a whole, any other file by itself."""
    groups: dict[str, list[DeidentifiedInstance]] = {}
    for file in outputs:
        is_ct = file.source.sop_class_uid == _CT
        groups.setdefault(file.series_instance_uid if is_ct else file.sop_instance_uid, []).append(file)
    for group in groups.values():
        refused = inspect(_part(study, group, left_out), frozenset(), checker=context.checker, pictures=None)
        if refused is not None:
            outputs = _leave_out(group, FileOutcome(refused.ending, refused.reasons), outputs, left_out)
    return outputs


@dataclass(frozen=True)
class _Validation:
    """Validation of a study in as many parts as it takes to find the files at fault."""

    study: Included
    output: Deidentified
    left_out: LeftOutByPath
    context: WorkerContext
    staging: Path

    def valid(self, outputs: Outputs) -> Outputs:
        """Leave out files with findings."""
        count, valid_parts, parts = 0, list[Outputs](), [outputs] if outputs else []
        while parts:
            part = _move(parts.pop(), self.staging / f"part{count}")
            refused, count = self._validate(part), count + 1
            if refused is None:
                valid_parts.append(part)
            elif len(part) == 1 or count >= _MAX_VALIDATIONS or self.context.job.whole_studies:
                self._refuse(part, refused)
            else:
                parts += _halves(part)
        if len(valid_parts) <= 1:
            return valid_parts[0] if valid_parts else ()
        whole = _move([file for part in valid_parts for file in part], self.staging / "whole")
        refused = self._validate(whole)
        return whole if refused is None else self._refuse(whole, refused)

    def _refuse(self, outputs: Outputs, refused: Refused) -> Outputs:
        return _leave_out(outputs, FileOutcome(refused.ending, refused.reasons), outputs, self.left_out)

    def _validate(self, outputs: Outputs) -> Refused | None:
        """Validate these files and drop the report; `None` where there is no finding."""
        profile, pseudonyms = self.context.profile, self.context.pseudonyms
        part = _part(self.output, outputs, self.left_out)
        with tempfile.TemporaryDirectory(prefix="ricord-") as folder:
            report = Path(folder) / "report.json"
            result = validate(self.study, part, profile=profile, pseudonyms=pseudonyms, report=report)
        return result if isinstance(result, Refused) else None


def _part(output: Deidentified, outputs: Sequence[DeidentifiedInstance], left_out: LeftOutByPath) -> Deidentified:
    """The study reduced to these files; its other files are left out as waiting."""
    paths = {file.source.path for file in outputs}
    others = (file.source for file in output.instances if file.source.path not in paths | left_out.keys())
    reasons = outcome_for("whole-study").reasons
    waiting = (LeftOut(instance=instance, ending=Ending.WAITING, reasons=reasons) for instance in others)
    return output.model_copy(update={"instances": tuple(outputs), "left_out": (*left_out.values(), *waiting)})


def _leave_out(
    group: Sequence[DeidentifiedInstance], outcome: FileOutcome, outputs: Outputs, left_out: LeftOutByPath
) -> Outputs:
    """Add the group to `left_out` with its outcome, and return the remaining outputs."""
    for file in group:
        ending = Ending(outcome.outcome)
        left_out[file.source.path] = LeftOut(instance=file.source, ending=ending, reasons=outcome.reasons)
    return tuple(file for file in outputs if file.source.path not in left_out)


def _move(outputs: Sequence[DeidentifiedInstance], folder: Path) -> Outputs:
    """Move the files into a folder of their own: validation refuses other files beside them."""
    moved = []
    for file in outputs:
        path = folder / file.series_instance_uid / file.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        move(file.path, path)
        moved.append(file.model_copy(update={"path": path}))
    return tuple(moved)


def _halves(outputs: Outputs) -> list[Outputs]:
    """By series while there are several, then in two."""
    series: dict[str, list[DeidentifiedInstance]] = {}
    for file in outputs:
        series.setdefault(file.series_instance_uid, []).append(file)
    if len(series) > 1:
        return [tuple(members) for members in series.values()]
    return [outputs[: len(outputs) // 2], outputs[len(outputs) // 2 :]]
