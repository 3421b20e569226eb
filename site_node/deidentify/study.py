"""The stage: an included study becomes a de-identified one, whole instances at a time, or is refused with reasons.

The new files are written into a folder of another name that becomes `out` only when the study is complete, so a crash
leaves nothing that could pass for a study. Nothing of the old study remains in a file's name, time or content.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import DiskFull
from shared.protocol.profile import Profile
from site_node.blanking import Blanking
from site_node.deidentify import fast_reader, pydicom_reader
from site_node.deidentify.actions import ElementActions, StudyContext, make_study_context
from site_node.deidentify.assemble import INSTANCE, NewFile, assemble
from site_node.deidentify.batch import Batch, LeftOuts, leaving_out
from site_node.deidentify.blank import CLEAN_PIXEL_DATA, blankable
from site_node.deidentify.kinds import check_subject, checked_pixels, kind_of
from site_node.deidentify.output import read_span
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.dicom.elements import ParsedFile, Span
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, DeidentifiedInstance, Ending, Included, Instance, LeftOut, Reason, Refused

_Stamp = tuple[int, ...]  # which file, and as of when
_CACHE_BYTES = 1 << 23  # of headers between the two rounds
_RUN_OVERHEAD = 512  # bytes of objects around the bytes of a run
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

    Returns:
        The study with what was left out of it, or `Refused` if no instance remains or its patient is unknown.

    Raises:
        DiskFull: nothing could be written; no folder is left.
    """
    identity = study.study.identity
    if identity is None:
        ending, reason = reason_of(unsupported("no-identity", "PatientID"))
        return Refused(key=study.key, ending=ending, reasons=(reason,))
    context = make_study_context(profile, pseudonyms, identity, searched=searched)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        done, left_out = _rewrite_instances(study, context, partial, out, blank)
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
        patient=context.pseudonym,
        study_instance_uid=pseudonyms.uid(study.study.study_instance_uid),
        profile_digest=profile.digest,
        instances=tuple(done),
        left_out=(*study.left_out, *left_out),
        clinical=clinical,
    )


def rewritten(path: Path, context: StudyContext, study_instance_uid: str, *, slow: bool = False) -> NewFile:
    """One file's new content; raises `DicomUnsupported`. `slow` uses the pydicom reader, for comparison."""
    with _opened(path) as file:
        parsed = _read(file, path, context, slow=slow)
        context.collect_names(parsed)
        return _new_file(file, parsed, context, study_instance_uid)


def _new_file(
    file: int, parsed: ParsedFile, context: StudyContext, study_instance_uid: str, *, blanked: bool = False
) -> NewFile:
    if blanked:
        parsed = blankable(file, parsed)
    actions = _actions_for(parsed, context, study_instance_uid)
    if parsed.encapsulated and parsed.pixels is not None:
        content = parsed.pixels if isinstance(parsed.pixels, bytes) else read_span(file, parsed.pixels)
        cleaned = checked_pixels(parsed, content)
        if cleaned is not None and cleaned != content:
            parsed = parsed._replace(pixels=cleaned)
    return assemble(context, parsed, actions, frozenset({CLEAN_PIXEL_DATA} if blanked else ()))


def _actions_for(parsed: ParsedFile, context: StudyContext, study_instance_uid: str) -> ElementActions:
    """The actions for a file that may go on and whose native pixel data are whole; cached by what files say."""
    length = parsed.pixels.length if isinstance(parsed.pixels, Span) else parsed.pixels and len(parsed.pixels)
    facts = (fact for fact in parsed.facts.items() if fact[0] != INSTANCE)  # with their tags: values alone may be alike
    key = (study_instance_uid, parsed.explicit, parsed.syntax, parsed.encapsulated, length, *facts)
    actions = context.actions.get(key)
    if actions is None:
        kind = kind_of(parsed.facts, context.profile, searched=context.searched)
        check_subject(parsed.facts, context.identity, study_instance_uid)
        if not parsed.encapsulated:
            checked_pixels(parsed, None)
        actions = ElementActions(
            context, parsed.facts, kind, explicit=parsed.explicit, encapsulated=parsed.encapsulated
        )
        context.actions[key] = actions
    return actions


def _rewrite_instances(
    study: Included, context: StudyContext, partial: Path, out: Path, blank: Blanking | None
) -> tuple[list[DeidentifiedInstance], list[LeftOut]]:
    """Every instance, in two rounds: a name from one file may stay in none, so all are read before any is written."""
    left_out: LeftOuts = {}
    headers = HeaderCache()
    for instance in study.kept:
        with leaving_out(instance, left_out), _opened(instance.path) as file:
            parsed = _read(file, instance.path, context)
            context.collect_names(parsed)
            headers.keep(file, parsed)
    with Batch(partial, out, left_out) as batch:
        for instance in study.kept:
            if instance.path in left_out:
                continue
            with leaving_out(instance, left_out):
                boxes = blank.of(context.pseudonyms.uid(instance.sop_instance_uid)) if blank else ()
                uid = study.study.study_instance_uid
                file = _open(instance.path)
                try:
                    new = _checked(file, headers, instance, context, uid, blanked=bool(boxes))
                    batch.add(instance, file, new, boxes)
                except BaseException:
                    os.close(file)
                    raise
    return batch.instances, [left_out[instance.path] for instance in study.kept if instance.path in left_out]


class HeaderCache:
    """Headers that the first round read, within a bounded memory, of files that have not changed since."""

    def __init__(self) -> None:
        self._files: dict[_Stamp, ParsedFile] = {}
        self._known: set[int] = set()  # ids of runs, which several files may share
        self._bytes_left = _CACHE_BYTES

    def keep(self, file: int, parsed: ParsedFile) -> None:
        """Keep what was read of a file if there is room."""
        if self._bytes_left <= 0 or not isinstance(parsed.pixels, Span):
            return
        for run in parsed.runs:
            if id(run) not in self._known:
                self._known.add(id(run))
                self._bytes_left -= _RUN_OVERHEAD + len(run.raw)
        self._files[_stamp(file)] = parsed

    def pop(self, file: int) -> ParsedFile | None:
        """Remove and return what was read of the file; None if it was not kept or the file has changed."""
        return self._files.pop(_stamp(file), None)


def _stamp(file: int) -> _Stamp:
    state = os.fstat(file)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = _open(path)
    try:
        yield file
    finally:
        os.close(file)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unsupported("not-readable") from error


def _checked(
    file: int,
    headers: HeaderCache,
    instance: Instance,
    context: StudyContext,
    study_instance_uid: str,
    *,
    blanked: bool,
) -> NewFile:
    """One instance's new content, if it is still the file that was received and whose names were collected."""
    parsed = headers.pop(file)
    if parsed is None:
        parsed = _read(file, instance.path, context)
        if context.collect_names(parsed):
            raise unsupported("changed-while-reading")
    try:
        new = _new_file(file, parsed, context, study_instance_uid, blanked=blanked)
    except (ValueError, RecursionError) as error:
        raise unsupported("not-readable") from error
    received = (instance.sop_instance_uid, instance.series_instance_uid)
    if (new.sop_instance_uid, new.series_instance_uid) != tuple(map(context.pseudonyms.uid, received)):
        raise unsupported("changed-while-reading", "SOPInstanceUID")
    return new


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
    """Quarantined if a person could still save an instance; entry reason once."""
    reasons: dict[str, Reason] = {entry.reasons[0].code: entry.reasons[0] for entry in left_out}
    savable = any(entry.ending is Ending.QUARANTINED for entry in left_out)
    return Refused(
        key=study.key,
        ending=Ending.QUARANTINED if savable else Ending.REFUSED,
        reasons=tuple(reasons.values()),
        left_out=tuple(left_out),
    )


def _read(file: int, path: Path, context: StudyContext, *, slow: bool = False) -> ParsedFile:
    """One file as the fast reader parses it, or the slow one if only that can."""
    try:
        parsed = None if slow else fast_reader.read_source(file, context.reading)
        return parsed or pydicom_reader.read_source(path, context.reading.sequences)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise unsupported("not-readable") from error
