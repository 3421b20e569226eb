"""The stage: an included study becomes a de-identified one, whole instances at a time, or is refused with reasons.

The new files are written into a folder of another name that becomes `out` only when the study is complete, so a crash
leaves nothing that could be taken for a study. Nothing of the old study stands in a file's name, time or content.
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
from site_node.deidentify.elements import ParsedFile, Span
from site_node.deidentify.kinds import check_subject, checked_pixels, kind_of
from site_node.deidentify.output import read_span
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Deidentified, DeidentifiedInstance, Ending, Included, Instance, LeftOut, Reason, Refused

_Stamp = tuple[int, ...]  # which file, and as of when
_EARLIER = 1 << 23  # bytes of headers that are kept between the rounds
_WITH_PIECE = 512  # bytes of objects around the bytes of one
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
        out: a folder that must not exist; it holds `<series>/<instance>.dcm`, all new UIDs, afterwards.
        clinical: the study's clinical row, already de-identified; carried along.
        blank: what a person decided to blank; no other pixel changes, and 113101 is claimed for these files.
        searched: whether the pixels are searched for text next; images that say they show some may then go on to that.

    Returns:
        The study with what was left out of it, or `Refused` if no instance remains or nobody knows whose it is.

    Raises:
        DiskFull: nothing could be written; no folder is left.
    """
    identity = study.study.identity
    if identity is None:
        ending, reason = reason_of(unsupported("no-identity", "PatientID"))
        return Refused(key=study.key, ending=ending, reasons=(reason,))
    subject = make_study_context(profile, pseudonyms, identity, searched=searched)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        done, left_out = _instances(study, subject, partial, out, blank)
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


def rewritten(path: Path, subject: StudyContext, study_instance_uid: str, *, slow: bool = False) -> NewFile:
    """One file's new content; raises `DicomUnsupported`. `slow` takes the other reader, for comparison."""
    with _opened(path) as file:
        source = _read(file, path, subject, slow=slow)
        subject.take(source)
        return _new_file(file, source, subject, study_instance_uid)


def _new_file(
    file: int, source: ParsedFile, subject: StudyContext, study_instance_uid: str, *, blanked: bool = False
) -> NewFile:
    if blanked:
        source = blankable(file, source)
    values = _judged(source, subject, study_instance_uid)
    if source.encapsulated and source.pixels is not None:
        content = source.pixels if isinstance(source.pixels, bytes) else read_span(file, source.pixels)
        cleaned = checked_pixels(source, content)
        if cleaned is not None and cleaned != content:
            source = source._replace(pixels=cleaned)
    return assemble(subject, source, values, frozenset({CLEAN_PIXEL_DATA} if blanked else ()))


def _judged(source: ParsedFile, subject: StudyContext, study_instance_uid: str) -> ElementActions:
    """The values of a file that may go on and whose native pixel data are whole: an earlier one's if it says so."""
    length = source.pixels.length if isinstance(source.pixels, Span) else source.pixels and len(source.pixels)
    said = (fact for fact in source.dataset.items() if fact[0] != INSTANCE)  # with its tag: values alone are alike
    key = (study_instance_uid, source.explicit, source.syntax, source.encapsulated, length, *said)
    values = subject.judged.get(key)
    if values is None:
        kind = kind_of(source.dataset, subject.profile, searched=subject.searched)
        check_subject(source.dataset, subject.identity, study_instance_uid)
        if not source.encapsulated:
            checked_pixels(source, None)
        values = ElementActions(
            subject, source.dataset, kind, explicit=source.explicit, encapsulated=source.encapsulated
        )
        subject.judged[key] = values
    return values


def _instances(
    study: Included, subject: StudyContext, partial: Path, out: Path, blank: Blanking | None
) -> tuple[list[DeidentifiedInstance], list[LeftOut]]:
    """Every instance, in two rounds: what one file names may be in none, so all are read before one is written."""
    left_out: LeftOuts = {}
    earlier = HeaderCache()
    for instance in study.kept:
        with leaving_out(instance, left_out), _opened(instance.path) as file:
            source = _read(file, instance.path, subject)
            subject.take(source)
            earlier.keep(file, source)
    with Batch(partial, out, left_out) as batch:
        for instance in study.kept:
            if instance.path in left_out:
                continue
            with leaving_out(instance, left_out):
                boxes = blank.of(subject.pseudonyms.uid(instance.sop_instance_uid)) if blank else ()
                uid = study.study.study_instance_uid
                file = _open(instance.path)
                try:
                    new = _checked(file, earlier, instance, subject, uid, blanked=bool(boxes))
                    batch.take(instance, file, new, boxes)
                except BaseException:
                    os.close(file)
                    raise
    return batch.done, [left_out[instance.path] for instance in study.kept if instance.path in left_out]


class HeaderCache:
    """What the first round read, as far as a bounded memory holds it, of files that did not change since."""

    def __init__(self) -> None:
        self._kept: dict[_Stamp, ParsedFile] = {}
        self._known: set[int] = set()  # pieces that several files share
        self._room = _EARLIER

    def keep(self, file: int, source: ParsedFile) -> None:
        """Keep what was read of a file if there is room."""
        if self._room <= 0 or not isinstance(source.pixels, Span):
            return
        for piece in source.pieces:
            if id(piece) not in self._known:
                self._known.add(id(piece))
                self._room -= _WITH_PIECE + len(piece.raw)
        self._kept[_stamp(file)] = source

    def take(self, file: int) -> ParsedFile | None:
        """What was read of the file, once; None if it was not kept or the file is another since."""
        return self._kept.pop(_stamp(file), None)


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
    earlier: HeaderCache,
    instance: Instance,
    subject: StudyContext,
    study_instance_uid: str,
    *,
    blanked: bool,
) -> NewFile:
    """One instance's new content, if it is still the file that was received and that gave its names."""
    source = earlier.take(file)
    if source is None:
        source = _read(file, instance.path, subject)
        if subject.take(source):
            raise unsupported("changed-while-reading")
    try:
        new = _new_file(file, source, subject, study_instance_uid, blanked=blanked)
    except (ValueError, RecursionError) as error:
        raise unsupported("not-readable") from error
    received = (instance.sop_instance_uid, instance.series_instance_uid)
    if (new.sop_instance_uid, new.series_instance_uid) != tuple(map(subject.pseudonyms.uid, received)):
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
    """Quarantined if a person could still save an instance; each reason once."""
    reasons: dict[str, Reason] = {one.reasons[0].code: one.reasons[0] for one in left_out}
    seen = any(one.ending is Ending.QUARANTINED for one in left_out)
    return Refused(
        key=study.key, ending=Ending.QUARANTINED if seen else Ending.REFUSED, reasons=tuple(reasons.values())
    )


def _read(file: int, path: Path, subject: StudyContext, *, slow: bool = False) -> ParsedFile:
    """One file as the fast reader finds it, or as the slow one does if only that can read it."""
    try:
        source = None if slow else fast_reader.read_source(file, subject.reading)
        return source or pydicom_reader.read_source(path, subject.reading.sequences)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise unsupported("not-readable") from error
