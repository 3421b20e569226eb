"""`screen` on a folder without a home: for looking only; nothing is kept."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.protocol.criteria import Criteria
from site_node.clinical.sheet import ClinicalSheet
from site_node.pseudonyms.keyed import SECRET_BYTES, Pseudonyms
from site_node.receive.folder import Reception, receive_folder
from site_node.screen.decide import Assessment, SeriesAssessment, assess
from site_node.stages import NOT_ENROLLED, row_for
from site_node.study import Reason, Received, Severity


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
