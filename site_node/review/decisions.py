"""A person's decisions on studies in quarantine. Each is one change of the ledger, with who decided and why.

So they hold at once, also while a node runs, and a kill leaves a decision made or not made.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from shared.errors.console import ChangedMeanwhile
from shared.errors.inputs import InvalidArgument, NotInQuarantine
from shared.frozen import Frozen
from shared.ids import StudyKey
from site_node.blanking import BLANKING_ANSWERS, Blanking, FrameWithText
from site_node.home.folder import SiteHome
from site_node.home.ledger import OTHER_BYTES, SENT_OR_SEALED, Ledger, State, StudyEntry
from site_node.home.records import Records
from site_node.home.references import study_named
from site_node.reasons import reason_for
from site_node.review.boxes import blanking_of, decided_blanking, read_text_findings
from site_node.review.versions import ImageVersions, chosen_version, enter_version, versions_of
from site_node.study import Reason, Received, Severity

REJECTED = reason_for("rejected-in-review")


_REPORTED = (State.VALIDATED, State.SEALED, State.SUBMITTED, State.REFUSED)


class QuarantinedStudy(Frozen):
    """A study that waits for a person. `key` and `reasons` identify nobody; `pictures` show pixels: PHI."""

    key: StudyKey
    since: datetime
    reasons: tuple[Reason, ...]
    pictures: tuple[str, ...]  # files in the home's quarantine folder


class ReviewCase(Frozen):
    """One study in quarantine, for a person to see. `folder` holds pictures of pixels: PHI."""

    item: QuarantinedStudy
    folder: Path
    frames: tuple[FrameWithText, ...]  # where text was found
    blanked: int  # boxes of previous decisions
    versions: tuple[ImageVersions, ...] = ()  # images of which several files came that differ


def list_waiting(home: SiteHome, ledger: Ledger, *, skip: int = 0, most: int = -1) -> tuple[QuarantinedStudy, ...]:
    """Every study in quarantine, or a part of them, those that wait longest first."""
    entries = ledger.studies(State.QUARANTINED, order="changed_at, key", skip=skip, most=most)
    return tuple(_item(home, entry) for entry in entries)


def list_with_versions(ledger: Ledger) -> tuple[StudyKey, ...]:
    """The studies, not sealed yet, that go on without an image of which several versions are in quarantine."""
    others = (entry for entry in ledger.studies() if entry.state not in {State.QUARANTINED, *SENT_OR_SEALED})
    return tuple(entry.key for entry in others if ledger.names(entry.key, OTHER_BYTES))


def show(home: SiteHome, ledger: Ledger, reference: str) -> ReviewCase:
    """One study in quarantine, or with images in it: its reasons, where its pictures are, and how versions differ."""
    entry = _in_quarantine(ledger, reference, or_versions=True)
    folder = home.quarantine / entry.key
    previous = decided_blanking(home, ledger, entry.key)
    return ReviewCase(
        item=_item(home, entry),
        folder=folder,
        frames=read_text_findings(folder).frames,
        blanked=len(previous.boxes) if previous else 0,
        versions=versions_of(home, ledger, entry.key),
    )


def release(
    home: SiteHome, ledger: Ledger, reference: str, *, actor: str, reason: str, seen: datetime | None = None
) -> StudyKey:
    """Send a study on: the reasons it was held for are lifted, and it goes through every stage again.

    What no person can lift, such as a missing PatientID, is refused with `InvalidArgument`; so is an empty `reason`.
    """
    with home.changing(), ledger.changing():
        entry = _in_quarantine(ledger, reference, seen=seen)
        study = Records(home).find(entry.key, Received)
        if study is None or study.identity is None:
            problem = "the study has no patient, or two; reject it, correct it at the source, then receive it again"
            raise InvalidArgument(name="study", problem=problem)
        held_codes = [why.code for why in entry.reasons if why.severity is Severity.REVIEW]
        ledger.audit(actor, "release", entry.key, _one_line(reason))
        ledger.reopen(entry.key, held_codes, [instance.name for instance in study.instances])
    return entry.key


def blank(
    home: SiteHome,
    ledger: Ledger,
    reference: str,
    *,
    actor: str,
    reason: str,
    boxes: Sequence[str] = (),
    seen: datetime | None = None,
) -> tuple[StudyKey, Blanking]:
    """Have boxes blanked at the next run: those named, or all detected ones; boxes blanked before stay blanked.

    Nothing is released: the search for text runs again and must find nothing. Raises `InvalidArgument` where the study
    does not wait because of text in its pixels, where a box is invalid, where none is named or detected, or where the
    `reason` is empty.
    """
    with home.changing(), ledger.changing():
        entry = _in_quarantine(ledger, reference, seen=seen)
        if BLANKING_ANSWERS.isdisjoint(why.code for why in entry.reasons):
            raise InvalidArgument(name="study", problem="no text was found in its pixels, so there is nothing to blank")
        blanking = blanking_of(home.quarantine / entry.key, boxes)
        frames = len({(box.instance, box.frame) for box in blanking.boxes})
        ledger.audit(actor, "blank", entry.key, f"{_one_line(reason)} [{len(blanking.boxes)} boxes in {frames} frames]")
        study = Records(home).read(entry.key, Received)
        names = [instance.name for instance in study.instances]
        ledger.reopen(entry.key, (), names, blanking=blanking.joined(decided_blanking(home, ledger, entry.key)))
    return entry.key, blanking


def choose(
    home: SiteHome, ledger: Ledger, reference: str, image: str, *, actor: str, reason: str
) -> tuple[StudyKey, str]:
    """Let one of several versions of an image go on with its study, which goes through every stage again.

    `image` is the beginning of a version's name as `show` gives it. The other versions stay in quarantine for good.
    Raises `NotFound`, and `InvalidArgument` where the study was sealed or the `reason` is empty.
    """
    with home.changing(), ledger.changing():
        entry = _in_quarantine(ledger, reference, or_versions=True)
        if entry.state in SENT_OR_SEALED:
            problem = "it was sealed, and a study that may have been sent is not changed"
            raise InvalidArgument(name="study", problem=problem)
        why = _one_line(reason)
        chosen, others = chosen_version(home, ledger, entry.key, image)
        ledger.audit(actor, "choose", entry.key, f"{why} [{chosen.name}]")
        enter_version(home, ledger, entry, chosen, others)
    return entry.key, chosen.name


def reject(
    home: SiteHome, ledger: Ledger, reference: str, *, actor: str, reason: str, seen: datetime | None = None
) -> StudyKey:
    """Leave a study out for good, also one that waits for `run --retry`; an empty `reason` raises `InvalidArgument`."""
    with home.changing(), ledger.changing():
        entry = _in_quarantine(ledger, reference, or_passed_over=True, seen=seen)
        ledger.audit(actor, "reject", entry.key, _one_line(reason))
        ledger.advance(entry.key, State.EXCLUDED, reasons=(REJECTED, *entry.reasons))
    return entry.key


def find_reported(home: SiteHome, ledger: Ledger, reference: str) -> StudyEntry:
    """The study with a validation report, by its key or its new UID; raises what `study_named` raises."""
    entries = [entry for entry in ledger.studies(*_REPORTED) if (home.reports / f"{entry.study}.json").exists()]
    return study_named(entries, reference, kind="reported study", names=lambda entry: (entry.key, entry.study or ""))


def _item(home: SiteHome, entry: StudyEntry) -> QuarantinedStudy:
    return QuarantinedStudy(
        key=entry.key, since=entry.changed_at, reasons=entry.reasons, pictures=_pictures(home, entry.key)
    )


def _pictures(home: SiteHome, key: StudyKey) -> tuple[str, ...]:
    """What the pixel stage drew: `<key>/<number>.png`."""
    return tuple(sorted(path.relative_to(home.quarantine).as_posix() for path in (home.quarantine / key).glob("*.png")))


def _in_quarantine(
    ledger: Ledger,
    reference: str,
    *,
    or_versions: bool = False,
    or_passed_over: bool = False,
    seen: datetime | None = None,
) -> StudyEntry:
    """The one study in quarantine that `reference` names.

    Raises what `study_named` raises, and `NotInQuarantine` for a study that is elsewhere, as after an earlier decision.
    With `or_versions` also a study that goes on without images of which several versions are in quarantine, with
    `or_passed_over` one that an error refused after it was validated. Raises `ChangedMeanwhile` where it is not as it
    was when it last changed, `seen` by who decides.
    """
    is_whole = StudyKey.pattern.fullmatch(reference) and ledger.has_study(StudyKey(reference))
    entry = ledger.study(StudyKey(reference)) if is_whole else study_named(ledger.studies(), reference)
    if not (
        entry.state is State.QUARANTINED
        or (or_passed_over and entry.is_passed_over)
        or (or_versions and ledger.names(entry.key, OTHER_BYTES))
    ):
        raise NotInQuarantine(study=entry.key, state=entry.state.value)
    if seen is not None and entry.changed_at != seen:
        raise ChangedMeanwhile
    return entry


def _one_line(reason: str) -> str:
    text = " ".join(reason.split())
    if not text:
        raise InvalidArgument(name="--reason", problem="say why; it is kept")
    return text
