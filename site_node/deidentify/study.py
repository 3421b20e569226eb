"""The stage: an included study becomes a de-identified one, whole instances at a time, or is refused with reasons.

The new files are written into a folder of another name that becomes `out` only when the study is complete, so a crash
leaves nothing that could pass for a study. Nothing of the old study remains in a file's name, time or content.
"""

import os
from collections.abc import Callable
from pathlib import Path

from shared.durable import publish_folder, sync_filesystem, unfinished_folder
from shared.errors.storage import DiskFull
from shared.protocol.accepted import NONE_ACCEPTED, AcceptedList
from shared.protocol.profile import Profile
from site_node.blanking import Blanking
from site_node.deidentify.assemble import NewFile, assemble
from site_node.deidentify.batch import Batch, leaving_out
from site_node.deidentify.blank import CLEAN_PIXEL_DATA, blankable
from site_node.deidentify.context import StudyContext
from site_node.deidentify.kinds import cleaned_frames
from site_node.deidentify.output import read_span
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.deidentify.series_cache import SeriesCache
from site_node.deidentify.study_reader import StudyReader, open_source, opened
from site_node.dicom.elements import ParsedFile
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, Ending, Identity, Included, Instance, LeftOut, Reason, Refused, StudyTexts

Clinical = dict[str, str | int | float | None]


def deidentify(
    study: Included,
    *,
    profile: Profile,
    pseudonyms: Pseudonyms,
    out: Path,
    clinical: Clinical | None = None,
    blank: Blanking | None = None,
    searched: bool = False,
    accepted: AcceptedList = NONE_ACCEPTED,
    keep: Callable[[StudyTexts], None] | None = None,
) -> Deidentified | Refused:
    """Rewrite a study under its pseudonyms.

    Args:
        study: what `screen` let through; files are read where they lie and never changed.
        profile: the rules.
        pseudonyms: the site's keyed identifiers.
        out: a folder that must not exist; afterwards it holds `<series>/<instance>.dcm`, all new UIDs.
        clinical: the study's clinical row, already de-identified; carried along.
        blank: what a person decided to blank; no other pixel changes, and 113101 is claimed for these files.
        searched: whether the pixels are searched for text next; images with BurnedInAnnotation YES then go on to that.
        accepted: words that the site lets pass besides the public ones; the result says which the study has.
        keep: called with what the home keeps of the study's texts, before the study is complete.

    Returns:
        The study with what was left out of it, or `Refused` if no instance remains or its patient is unknown.

    Raises:
        DiskFull: nothing could be written; no folder is left.
    """
    identity, left_out = study.study.identity, dict[Path, LeftOut]()
    if identity is None:
        ending, reason = reason_of(unsupported("no-identity", "PatientID"))
        return Refused(key=study.key, ending=ending, reasons=(reason,))
    reader, context = _read_names(
        study, identity, profile, pseudonyms, left_out, searched=searched, words=accepted.words
    )
    try:
        with unfinished_folder(out) as folder:
            with Batch(folder, out, left_out) as batch:
                _rewrite(study, reader, context, batch, blank)
            if keep is not None:
                keep(context.texts())
            if not batch.instances:
                return _refused(study, _in_order(study, left_out))
            sync_filesystem(folder)
            publish_folder(folder, out)
    except OSError as error:
        raise DiskFull(folder=str(out.parent)) from error
    return _result(study, context, batch, clinical=clinical, version=accepted.version)


def foresee(study: Included, *, profile: Profile, pseudonyms: Pseudonyms) -> tuple[LeftOut, ...]:
    """The instances that `deidentify` would leave out, found without writing a file; the arguments are as there.

    Text in pixels is not searched for.
    """
    identity, left_out = study.study.identity, dict[Path, LeftOut]()
    if identity is None:
        ending, reason = reason_of(unsupported("no-identity", "PatientID"))
        return tuple(LeftOut(instance=instance, ending=ending, reasons=(reason,)) for instance in study.kept)
    reader, context = _read_names(study, identity, profile, pseudonyms, left_out, searched=True)
    for instance in study.kept:
        if instance.path not in left_out:
            with leaving_out(instance, left_out), opened(instance.path) as file:
                rewritten(reader.read_again(file, instance.path), file, context, reader.cache, blanked=False)
    return tuple(_in_order(study, left_out))


def _read_names(
    study: Included,
    identity: Identity,
    profile: Profile,
    pseudonyms: Pseudonyms,
    left_out: dict[Path, LeftOut],
    *,
    searched: bool,
    words: frozenset[str] = frozenset(),
) -> tuple[StudyReader, StudyContext]:
    """The first round: what every file of the study names; what cannot be read is added to `left_out`."""
    reader = StudyReader(profile, identity)
    for instance in study.kept:
        with leaving_out(instance, left_out):
            reader.collect_names(instance.path)
    names, study_uid = reader.names.identifiers(), study.study.study_instance_uid
    return reader, StudyContext(profile, pseudonyms, identity, study_uid, names, searched=searched, accepted=words)


def rewritten(parsed: ParsedFile, file: int, context: StudyContext, cache: SeriesCache, *, blanked: bool) -> NewFile:
    """The new content of one file, open for reading; raises `DicomUnsupported`."""
    try:
        if blanked:
            parsed = blankable(file, parsed)
        known = cache.known(context, parsed)
        if parsed.pixels is None:
            raise unsupported("no-pixels", "PixelData")
        if known.native:
            pixels = known.native.without_padding(parsed.pixels)
        else:
            content = parsed.pixels if isinstance(parsed.pixels, bytes) else read_span(file, parsed.pixels)
            pixels = cleaned_frames(parsed, content)
            if pixels == content:
                pixels = parsed.pixels
        if pixels is not parsed.pixels:
            parsed = parsed._replace(pixels=pixels)
        new = assemble(parsed, known.actions, cache, frozenset({CLEAN_PIXEL_DATA} if blanked else ()))
        return new._replace(unused=known.native.unused) if known.native and known.native.unused else new
    except (ValueError, RecursionError) as error:
        raise unsupported("not-readable") from error


def _rewrite(study: Included, reader: StudyReader, context: StudyContext, batch: Batch, blank: Blanking | None) -> None:
    """The second round: a name from one file may stay in none, so all were read before any is written."""
    for instance in study.kept:
        if instance.path in batch.left_out:
            continue
        with leaving_out(instance, batch.left_out):
            boxes = blank.of(context.pseudonyms.uid(instance.sop_instance_uid)) if blank else ()
            file = open_source(instance.path)
            try:
                parsed = reader.read_again(file, instance.path)
                new = rewritten(parsed, file, context, reader.cache, blanked=bool(boxes))
                _check_received(new, instance, context.pseudonyms)
                batch.add(instance, file, new, boxes)
            except BaseException:
                os.close(file)
                raise


def _result(
    study: Included, context: StudyContext, batch: Batch, *, clinical: Clinical | None, version: int
) -> Deidentified:
    return Deidentified(
        key=study.key,
        site_id=context.pseudonyms.site_id,
        patient=context.pseudonym,
        study_instance_uid=context.pseudonyms.uid(context.study_instance_uid),
        profile_digest=context.profile.digest,
        instances=tuple(batch.instances),
        left_out=(*study.left_out, *_in_order(study, batch.left_out)),
        clinical=clinical,
        accepted=tuple(sorted(context.text_rule.used)),
        accepted_version=version,
    )


def _check_received(new: NewFile, instance: Instance, pseudonyms: Pseudonyms) -> None:
    """Raise `DicomUnsupported` unless the file is still the one that was received."""
    received = (instance.sop_instance_uid, instance.series_instance_uid)
    if (new.sop_instance_uid, new.series_instance_uid) != tuple(map(pseudonyms.uid, received)):
        raise unsupported("changed-while-reading", "SOPInstanceUID")


def _refused(study: Included, left_out: list[LeftOut]) -> Refused:
    """Quarantined if a person could still save an instance; entry reason once."""
    reasons: dict[str, Reason] = {entry.reasons[0].code: entry.reasons[0] for entry in left_out}
    savable = any(entry.ending is Ending.QUARANTINED for entry in left_out)
    return Refused(
        key=study.key,
        ending=Ending.QUARANTINED if savable else Ending.REFUSED,
        reasons=tuple(reasons.values()),
        left_out=tuple(left_out),
    )


def _in_order(study: Included, left_out: dict[Path, LeftOut]) -> list[LeftOut]:
    return [left_out[instance.path] for instance in study.kept if instance.path in left_out]
