"""`screen` and `deidentify` on a folder without a home: for looking and for sites that share by another way."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import DicomUnreadable
from shared.protocol.criteria import Criteria
from shared.protocol.profile import Profile
from site_node.clinical.sheet import ClinicalSheet
from site_node.deidentify.study import deidentify
from site_node.pipeline import Inspect
from site_node.pseudonyms.keyed import SECRET_BYTES, Pseudonyms
from site_node.receive.folder import NO_PATIENT_ID, Reception, receive_folder
from site_node.screen.decide import Assessment, SeriesAssessment, assess
from site_node.screen.facts import read_facts
from site_node.screen.patient import image_age
from site_node.stages import NOT_ENROLLED, row_for
from site_node.study import Deidentified, Ending, Included, Reason, Received, Refused, Severity
from site_node.validate.validation import validate

ADULT = 18  # years; the one criterion that de-identification alone applies
UNDER_AGE = Reason(
    code="under-age",
    message="The patient is under 18 at the study date.",
    severity=Severity.REJECT,
    attribute="PatientBirthDate",
)


@contextmanager
def received(source: Path, pseudonyms: Pseudonyms | None = None) -> Iterator[Reception]:
    """A source received into a private temporary folder, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ricord-") as folder:
        keys = pseudonyms or Pseudonyms(os.urandom(SECRET_BYTES), NOT_ENROLLED)
        yield receive_folder(source, Path(folder), keys)


def screen_lines(reception: Reception, criteria: Criteria, sheet: ClinicalSheet | None) -> Iterator[dict[str, Any]]:
    """One line for each series and one for its study (`series` is null). UIDs are the hospital's own: PHI."""
    for study in reception.studies:
        row = row_for(study, [sheet]) if sheet else None
        found = assess(study, criteria=criteria, clinical=row, clinical_checked=sheet is not None)
        for series in found.series:
            yield _series_line(study, series)
        yield _study_line(study, found, reception)
    for one in reception.refused:
        severity = one.reason.severity.value
        yield {"study": None, "series": None, "file": one.source, "outcome": severity, "reasons": [_plain(one.reason)]}


def _series_line(study: Received, series: SeriesAssessment) -> dict[str, Any]:
    """Reasons of the series, and of each image left out with that image's UID."""
    reasons = [_plain(reason) for reason in series.reasons]
    for left in series.left_out:
        reasons += [{**_plain(reason), "instance": left.instance.sop_instance_uid} for reason in left.reasons]
    return {
        "study": study.study_instance_uid,
        "series": series.series_instance_uid,
        "outcome": series.outcome.value,
        "reasons": reasons,
    }


def _study_line(study: Received, found: Assessment, reception: Reception) -> dict[str, Any]:
    held = reception.held.get(study.key)
    outcome = found.outcome
    if held is not None and outcome is not Severity.REJECT:
        outcome = Severity.REVIEW
    reasons = [*([held] if held else []), *found.all_reasons]
    line = {"study": study.study_instance_uid, "series": None, "outcome": outcome.value}
    return {**line, "reasons": [_plain(reason) for reason in reasons]}


def _plain(reason: Reason) -> dict[str, Any]:
    return reason.model_dump(mode="json")


@dataclass(frozen=True)
class Tools:
    """What `deidentify` on a folder works with; `inspect` is `None` without the pixel check."""

    profile: Profile
    pseudonyms: Pseudonyms
    inspect: Inspect | None
    validated: bool = True
    whole_studies: bool = False


def deidentify_lines(reception: Reception, out: Path, tools: Tools) -> Iterator[dict[str, Any]]:
    """De-identify every study into `out/<patient>/<study>/<series>/<instance>.dcm`; one line for each input file.

    Studies of patients under 18 are excluded and those without a PatientID quarantined; nothing else is screened.
    """
    found: dict[Path, _Fate] = {}
    for study in reception.studies:
        found |= _fates(study, reception.held.get(study.key), out, tools)
    for source, path in sorted(reception.sources.items()):
        fate = found[path]
        reasons = [_plain(reason) for reason in fate.reasons]
        yield {"source": source, "outcome": fate.outcome, "reasons": reasons, "output": fate.output}
    for one in reception.refused:
        yield {"source": one.source, "outcome": one.ending.value, "reasons": [_plain(one.reason)], "output": None}


@dataclass(frozen=True)
class _Fate:
    """What became of one file."""

    outcome: str
    reasons: tuple[Reason, ...] = ()
    output: str | None = None


def _fates(study: Received, held: Reason | None, out: Path, tools: Tools) -> dict[Path, _Fate]:
    if held is not None or study.identity is None:
        return _all(study, _Fate(Ending.QUARANTINED, (held or NO_PATIENT_ID,)))
    if _is_minor(study):
        return _all(study, _Fate(Ending.EXCLUDED, (UNDER_AGE,)))
    staging = out / f".{study.key}"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        made = _checked(Included(study=study, kept=study.instances, left_out=(), warnings=()), staging, tools)
        if isinstance(made, Refused):
            return _all(study, _Fate(made.ending, made.reasons))
        if made.left_out and tools.whole_studies:
            return _all(study, _Fate(Ending.REFUSED, made.left_out[0].reasons))
        return _placed(made, staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _checked(study: Included, staging: Path, tools: Tools) -> Deidentified | Refused:
    """De-identify, look for burned-in text, validate."""
    made = deidentify(study, profile=tools.profile, pseudonyms=tools.pseudonyms, out=staging)
    if isinstance(made, Deidentified) and tools.inspect is not None:
        made = tools.inspect(made, frozenset()) or made
    if isinstance(made, Deidentified) and tools.validated:
        with tempfile.TemporaryDirectory(prefix="ricord-") as folder:
            report = Path(folder) / "report.json"
            seen = validate(study, made, profile=tools.profile, pseudonyms=tools.pseudonyms, report=report)
        return seen if isinstance(seen, Refused) else made
    return made


def _placed(made: Deidentified, staging: Path, out: Path) -> dict[Path, _Fate]:
    """Give a finished study its place; one that is there from an earlier run is replaced."""
    target = out / made.patient / made.study_instance_uid
    target.parent.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    fates = {
        one.source.path: _Fate(
            "deidentified", output=(target / one.path.relative_to(staging)).relative_to(out).as_posix()
        )
        for one in made.instances
    }
    return fates | {left.instance.path: _Fate(left.ending, left.reasons) for left in made.left_out}


def _is_minor(study: Received) -> bool:
    """Whether any file says that the patient was under 18 at the study; one that says nothing says no."""
    for instance in study.instances:
        try:
            age = image_age(read_facts(instance))
        except DicomUnreadable:
            continue
        if age is not None and age < ADULT:
            return True
    return False


def _all(study: Received, fate: _Fate) -> dict[Path, _Fate]:
    return {instance.path: fate for instance in study.instances}
