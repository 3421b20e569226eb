"""De-identify, look for burned-in text, validate: of one study, what comes through and why the rest does not.

A stage that stops a study does not say for which file. So what was stopped is asked again in parts, as far as that is
worth it, and what came through in parts is validated once more as a whole.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from site_node.deidentify.study import deidentify
from site_node.pixels.inspect import inspect
from site_node.standalone.reasons import fate
from site_node.standalone.sources import stamp_of
from site_node.standalone.tasks import FileOutcome, Stamp
from site_node.standalone.worker_context import WorkerContext
from site_node.study import Deidentified, DeidentifiedInstance, Ending, Included, LeftOut, Refused
from site_node.validate.validation import validate

_CT = "1.2.840.10008.5.1.4.1.1.2"  # plain CT images: only some slices of a series are looked at
_ASKED = 24  # parts of a study that are validated by themselves at most

Made = tuple[DeidentifiedInstance, ...]
Left = dict[Path, LeftOut]


def come_through(
    study: Included, bench: WorkerContext, staging: Path, stamps: Mapping[Path, Stamp]
) -> tuple[Made, dict[Path, FileOutcome]]:
    """The new files below `staging`, and the fate of each instance that has none. Raises `DiskFull`, `OSError`."""
    made = _deidentify(study, bench, staging / "made")
    if isinstance(made, Refused):
        return (), _each_reason(study, made, bench, staging)
    left = {one.instance.path: one for one in made.left_out}
    going = _unchanged(made.instances, stamps, left)
    if bench.job.pixel_check:
        going = _without_text(made, going, left, bench)
    if bench.job.validated:
        going = _Validation(study, made, left, bench, staging).valid(going)
    return going, {path: FileOutcome(one.ending, one.reasons) for path, one in left.items()}


def _deidentify(study: Included, bench: WorkerContext, out: Path) -> Deidentified | Refused:
    searched = bench.job.pixel_check
    return deidentify(study, profile=bench.profile, pseudonyms=bench.pseudonyms, out=out, searched=searched)


def _each_reason(study: Included, refused: Refused, bench: WorkerContext, staging: Path) -> dict[Path, FileOutcome]:
    """Why each file was refused, where the study says only why its files were."""
    fates = {}
    for one in study.kept:
        ending, reasons = refused.ending, refused.reasons
        if len(study.kept) > 1 and len(reasons) > 1:
            alone = study.model_copy(update={"kept": (one,)})
            found = _deidentify(alone, bench, staging / "alone")
            if isinstance(found, Refused):
                ending, reasons = found.ending, found.reasons
            rmtree(staging / "alone", ignore_errors=True)
        fates[one.path] = FileOutcome(ending, reasons)
    return fates


def _unchanged(made: Made, stamps: Mapping[Path, Stamp], left: Left) -> Made:
    """Without files whose source changed while it was worked on."""
    changed = {one.source.path for one in made if stamps.get(one.source.path) not in {None, stamp_of(one.source.path)}}
    return _leave([one for one in made if one.source.path in changed], fate("changed-while-reading"), made, left)


def _without_text(study: Deidentified, made: Made, left: Left, bench: WorkerContext) -> Made:
    """Without files that show text: a CT series as one, any other file by itself."""
    groups: dict[str, list[DeidentifiedInstance]] = {}
    for one in made:
        plain = one.source.sop_class_uid == _CT
        groups.setdefault(one.series_instance_uid if plain else one.sop_instance_uid, []).append(one)
    for group in groups.values():
        found = inspect(_part(study, group, left), frozenset(), checker=bench.checker, pictures=None)
        if found is not None:
            made = _leave(group, FileOutcome(found.ending, found.reasons), made, left)
    return made


@dataclass(frozen=True)
class _Validation:
    """Validation of a study in as many parts as it takes to tell which of its files are at fault."""

    study: Included
    output: Deidentified
    left: Left
    bench: WorkerContext
    staging: Path

    def valid(self, made: Made) -> Made:
        """Without files in which anything is found."""
        asked, sound, parts = 0, list[Made](), [made] if made else []
        while parts:
            part = _moved(parts.pop(), self.staging / f"part{asked}")
            found, asked = self._found(part), asked + 1
            if found is None:
                sound.append(part)
            elif len(part) == 1 or asked >= _ASKED or self.bench.job.whole_studies:
                self._stop(part, found)
            else:
                parts += _halves(part)
        if len(sound) <= 1:
            return sound[0] if sound else ()
        whole = _moved([one for part in sound for one in part], self.staging / "whole")
        found = self._found(whole)
        return whole if found is None else self._stop(whole, found)

    def _stop(self, made: Made, found: Refused) -> Made:
        return _leave(made, FileOutcome(found.ending, found.reasons), made, self.left)

    def _found(self, made: Made) -> Refused | None:
        """What validation finds in these files; `None` where nothing. A report is a home's business."""
        profile, pseudonyms = self.bench.profile, self.bench.pseudonyms
        part = _part(self.output, made, self.left)
        with tempfile.TemporaryDirectory(prefix="ricord-") as folder:
            report = Path(folder) / "report.json"
            seen = validate(self.study, part, profile=profile, pseudonyms=pseudonyms, report=report)
        return seen if isinstance(seen, Refused) else None


def _part(output: Deidentified, made: Sequence[DeidentifiedInstance], left: Left) -> Deidentified:
    """A study of which only these files are there."""
    there = {one.source.path for one in made}
    others = (one.source for one in output.instances if one.source.path not in there | left.keys())
    waiting = (LeftOut(instance=one, ending=Ending.WAITING, reasons=fate("whole-study").reasons) for one in others)
    return output.model_copy(update={"instances": tuple(made), "left_out": (*left.values(), *waiting)})


def _leave(group: Sequence[DeidentifiedInstance], why: FileOutcome, made: Made, left: Left) -> Made:
    """Note that these files are not taken; the others."""
    for one in group:
        left[one.source.path] = LeftOut(instance=one.source, ending=Ending(why.outcome), reasons=why.reasons)
    return tuple(one for one in made if one.source.path not in left)


def _moved(made: Sequence[DeidentifiedInstance], folder: Path) -> Made:
    """The same files in a folder of their own: validation wants no other beside them."""
    moved = []
    for one in made:
        path = folder / one.series_instance_uid / one.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        moved.append(one.model_copy(update={"path": one.path.rename(path)}))
    return tuple(moved)


def _halves(made: Made) -> list[Made]:
    """By series while there are several, then in two."""
    series: dict[str, list[DeidentifiedInstance]] = {}
    for one in made:
        series.setdefault(one.series_instance_uid, []).append(one)
    if len(series) > 1:
        return [tuple(members) for members in series.values()]
    return [made[: len(made) // 2], made[len(made) // 2 :]]
