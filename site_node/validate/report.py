"""The report of one study that an officer can sign: what was removed, kept, changed, checked, by which profile.

It names attributes, counts and codes; no value, no identifier of the hospital. The file is written for its owner alone
all the same (mode 0600).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import Field

from shared.durable import write_whole
from shared.frozen import Frozen
from shared.ids import PatientPseudonym, Sha256, SiteId, Uid
from shared.protocol.accepted import NONE_ACCEPTED, AcceptedList
from shared.protocol.profile import Profile
from site_node.blanking import BlankBox
from site_node.study import Deidentified, LeftOut
from site_node.validate.finding import Finding

CHECKS = (
    "every instance of the study is written or left out",
    "files are as the stage before says, and no other file is there",
    "structure, file meta information and preamble",
    "only elements that the profile keeps, in order, with their value representation and form",
    "no private element but this programme's",
    "UIDs under the site's root, each the one that the site's key gives",
    "patient, accession number and dates as the site's key gives, one shift for all",
    "kept elements and pixel data as in the source",
    "only the boxes that a person named are blanked, they are even and black, and 113101 is claimed just then",
    "no identifier of the source in any text or byte outside the pixels, nor in the clinical row",
    "no comment in a compressed frame",
    "Type 1 and 2: nothing missing that the source had",
)


class Report(Frozen):
    """One study's report."""

    format: Literal["ricord-validation/1"] = "ricord-validation/1"
    outcome: Literal["validated", "refused"]
    checked_at: datetime
    site_id: SiteId
    study: Uid
    patient: PatientPseudonym
    profile: str
    profile_edition: str
    profile_digest: Sha256
    instances: int = Field(ge=1)
    bytes_written: int
    left_out: dict[str, int]  # by reason code
    removed: dict[str, int]  # by keyword: in how many places in all files
    changed: dict[str, int]
    kept: dict[str, int]
    form_errors_of_the_source: int  # form errors that the source has as well
    software: str = ""  # the version of this program
    pixels_searched: bool | None = None  # for burned-in text, before validation; `None`: not known here
    blanked_boxes: int = Field(default=0, ge=0)
    blanked_frames: int = Field(default=0, ge=0)
    accepted_version: int = Field(default=0, ge=0)  # of the site's list of words, as the study was de-identified by it
    accepted_digest: Sha256 = NONE_ACCEPTED.digest
    accepted_words: int = Field(default=0, ge=0)  # of that list, in texts of the study
    checks: tuple[str, ...] = CHECKS
    findings: tuple[Finding, ...]


def make_report(
    study: Deidentified,
    profile: Profile,
    *,
    findings: tuple[Finding, ...],
    outcomes: Counter[tuple[str, str]],
    inherited: int,
    checked_at: datetime,
    boxes: Sequence[BlankBox] = (),
    searched: bool | None = None,
    accepted: AcceptedList = NONE_ACCEPTED,
) -> Report:
    """Assemble the report; `outcomes` counts elements by kept, changed or removed, and keyword."""
    sums: dict[str, dict[str, int]] = {"kept": {}, "changed": {}, "removed": {}}
    for (outcome, keyword), count in sorted(outcomes.items()):
        sums[outcome][keyword] = count
    return Report(
        outcome="refused" if findings else "validated",
        checked_at=checked_at,
        site_id=study.site_id,
        study=study.study_instance_uid,
        patient=study.patient,
        profile=profile.name,
        profile_edition=profile.edition,
        profile_digest=profile.digest,
        instances=len(study.instances),
        bytes_written=sum(instance.size for instance in study.instances),
        left_out=_by_code(study.left_out),
        removed=sums["removed"],
        changed=sums["changed"],
        kept=sums["kept"],
        form_errors_of_the_source=inherited,
        software=version("ricord-federation"),
        pixels_searched=searched,
        accepted_version=accepted.version,
        accepted_digest=accepted.digest,
        accepted_words=len(study.accepted),
        blanked_boxes=len(boxes),
        blanked_frames=len({(box.instance, box.frame) for box in boxes}),
        findings=findings,
    )


def write_report(path: Path, report: Report) -> Sha256:
    """Write the report for its owner alone, complete or not at all; returns its SHA-256."""
    content = (report.model_dump_json(indent=2) + "\n").encode()
    write_whole(path, content, mode=0o600)
    return Sha256(hashlib.sha256(content).hexdigest())


def _by_code(left_out: Iterable[LeftOut]) -> dict[str, int]:
    return dict(sorted(Counter(reason.code for entry in left_out for reason in entry.reasons).items()))
