"""The stage: an included study becomes a de-identified one, whole instances at a time, or is refused with reasons.

The new files are written into a folder of another name that becomes `out` only when the study is complete, so a crash
leaves nothing that could be taken for a study. Nothing of the old study stands in a file's name, time or content.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from shared.errors import DicomUnsupported, DiskFull
from shared.ids import Uid
from shared.protocol.profile import GOING, Profile
from site_node.deidentify import fallback, rewrite
from site_node.deidentify.actions import Subject, Values, make_subject
from site_node.deidentify.assemble import NewFile, assemble
from site_node.deidentify.elements import Dataset, Source
from site_node.deidentify.identifiers import TAGS as IDENTIFIER_TAGS
from site_node.deidentify.kinds import SEQUENCE_SIGNS, SIGNS, check_subject, checked_pixels, kind_of
from site_node.deidentify.output import read_span, write_new
from site_node.deidentify.reasons import reason_of, stop
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, DeidentifiedInstance, Ending, Included, Instance, LeftOut, Reason, Refused

Clinical = dict[str, str | int | float | None]


def deidentify(
    study: Included, *, profile: Profile, pseudonyms: Pseudonyms, out: Path, clinical: Clinical | None = None
) -> Deidentified | Refused:
    """Rewrite a study under its pseudonyms.

    Args:
        study: what `screen` let through; files are read where they lie and never changed.
        profile: the rules.
        pseudonyms: the site's keyed identifiers.
        out: a folder that must not exist; it holds `<series>/<instance>.dcm`, all new UIDs, afterwards.
        clinical: the study's clinical row, already de-identified; carried along.

    Returns:
        The study with what was left out of it, or `Refused` if no instance remains or nobody knows whose it is.

    Raises:
        DiskFull: nothing could be written; no folder is left.
    """
    identity = study.study.identity
    if identity is None:
        ending, reason = reason_of(stop("no-identity", "PatientID"))
        return Refused(key=study.key, ending=ending, reasons=(reason,))
    subject = make_subject(profile, pseudonyms, identity, wanted=wanted_tags(profile))
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        done, left_out = _instances(study, subject, partial, out)
        if not done:
            return _refused(study, left_out)
        _publish(partial, out)
    except OSError as error:
        raise DiskFull(folder=str(out.parent)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Deidentified(
        key=study.key,
        site_id=pseudonyms.site_id,
        patient=subject.pseudonym,
        study_instance_uid=pseudonyms.uid(study.study.study_instance_uid),
        profile_digest=profile.digest,
        instances=tuple(done),
        left_out=(*study.left_out, *left_out),
        clinical=clinical,
    )


def rewritten(path: Path, subject: Subject, study_instance_uid: str, *, slow: bool = False) -> NewFile:
    """One file's new content; raises `DicomUnsupported`. `slow` takes the other reader, for comparison."""
    source = _read(path, subject.wanted, slow=slow)
    kind = kind_of(source.dataset, subject.profile)
    check_subject(source.dataset, subject.identity, study_instance_uid)
    content = None
    if source.encapsulated and source.pixels is not None:
        content = source.pixels if isinstance(source.pixels, bytes) else read_span(path, source.pixels)
    cleaned = checked_pixels(source, content)
    if cleaned is not None and cleaned != content:
        source = source._replace(pixels=cleaned)
    return assemble(subject, source, Values(subject, _head(source.dataset), kind, explicit=source.explicit))


def _instances(
    study: Included, subject: Subject, partial: Path, out: Path
) -> tuple[list[DeidentifiedInstance], list[LeftOut]]:
    done: list[DeidentifiedInstance] = []
    left_out: list[LeftOut] = []
    names: set[str] = set()
    for instance in study.kept:
        try:
            new = _new_file(instance, subject, study.study.study_instance_uid)
            if not _is_named_as(instance, new, subject.pseudonyms):
                raise stop("changed-while-reading", "SOPInstanceUID")
            if new.sop_instance_uid in names:
                raise stop("same-new-name", "SOPInstanceUID")
            done.append(_write(instance, new, partial, out))
            names.add(new.sop_instance_uid)
        except DicomUnsupported as error:
            ending, reason = reason_of(error)
            left_out.append(LeftOut(instance=instance, ending=ending, reasons=(reason,)))
    return done, left_out


def _is_named_as(instance: Instance, new: NewFile, pseudonyms: Pseudonyms) -> bool:
    """Whether the file still says the UIDs that it was received under."""
    received = (instance.sop_instance_uid, instance.series_instance_uid)
    return (new.sop_instance_uid, new.series_instance_uid) == tuple(map(pseudonyms.uid, received))


def _new_file(instance: Instance, subject: Subject, study_instance_uid: str) -> NewFile:
    try:
        return rewritten(instance.path, subject, study_instance_uid)
    except (OSError, ValueError, RecursionError) as error:
        raise stop("not-readable") from error


def _write(instance: Instance, new: NewFile, partial: Path, out: Path) -> DeidentifiedInstance:
    name = Path(new.series_instance_uid) / f"{new.sop_instance_uid}.dcm"
    (partial / name).parent.mkdir(parents=True, exist_ok=True)
    written = write_new(new, instance.path, partial / name)
    if instance.path.stat().st_size != instance.size:
        (partial / name).unlink()
        raise stop("changed-while-reading")
    return DeidentifiedInstance(
        path=out / name,
        size=written.size,
        sha256=written.sha256,
        sop_instance_uid=Uid(new.sop_instance_uid),
        series_instance_uid=Uid(new.series_instance_uid),
        source=instance,
    )


def _publish(partial: Path, out: Path) -> None:
    """Give the finished folder its name, after its entries are on the disk."""
    for folder in (*partial.iterdir(), partial):
        _sync(folder)
    partial.rename(out)
    _sync(out.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(study: Included, left_out: list[LeftOut]) -> Refused:
    """Quarantined if a person could still save an instance; each reason once."""
    reasons: dict[str, Reason] = {one.reasons[0].code: one.reasons[0] for one in left_out}
    seen = any(one.ending is Ending.QUARANTINED for one in left_out)
    return Refused(
        key=study.key, ending=Ending.QUARANTINED if seen else Ending.REFUSED, reasons=tuple(reasons.values())
    )


def _read(path: Path, wanted: Mapping[int, bool], *, slow: bool) -> Source:
    source = None if slow else rewrite.read_source(path, wanted)
    return source or fallback.read_source(path, wanted)


def wanted_tags(profile: Profile) -> dict[int, bool]:
    """The tags a reader looks at, and whether each is a sequence."""
    wanted = {rule.tag: "SQ" in rule.vrs for rule in profile.rules if rule.action not in GOING}
    return dict.fromkeys(IDENTIFIER_TAGS, False) | {tag: tag in SEQUENCE_SIGNS for tag in SIGNS} | wanted


def _head(dataset: Dataset) -> dict[int, bytes]:
    """The plain values of the top level."""
    return {tag: element.value for tag, element in dataset.items() if isinstance(element.value, bytes)}
