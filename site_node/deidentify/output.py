"""Writing a new file: pixel bytes moved by the kernel. It becomes durable with the other files of its study.

Nothing is hashed here: the stage that checks a file hashes what it checks. Nobody looks into the folder before it is
complete and renamed, so its files need no temporary names of their own.
"""

import os

from site_node.deidentify.assemble import NewFile
from site_node.deidentify.native_pixels import UnusedBits
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Span

MTIME = 946_684_800  # 2000-01-01: the time of processing says nothing to the receiver
_MOST_IN_MEMORY = 1 << 30  # bytes of one file's compressed frames
_PIECE = 1 << 18  # bytes


def write_new(new: NewFile, source: int, target: str) -> int:
    """Write `new` to the new file `target`, taking its pixel bytes from `source`; the descriptor of what was written.

    Raises:
        DicomUnsupported: the source ended early, or its unused bits hold something; no file is left.
        OSError: the disk is full or cannot be written; no file is left.
    """
    out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        _put(out, new.before)
        if not isinstance(new.pixels, Span):
            if new.unused:
                new.unused.check(new.pixels)
            _put(out, new.pixels)
        elif new.unused:
            _move_checked(source, out, new.pixels, new.unused)
        else:
            _move(source, out, new.pixels)
        _put(out, new.after)
        os.utime(out, (MTIME, MTIME))
    except BaseException:
        os.close(out)
        os.unlink(target)  # noqa: PTH108 -- as fast as the rest of this loop
        raise
    return out


def read_span(file: int, span: Span) -> bytes:
    """The bytes of a span, for compressed frames; raises `DicomUnsupported` if they are too many or missing."""
    if span.length > _MOST_IN_MEMORY:
        raise unsupported("too-large")
    content = os.pread(file, span.length, span.offset)
    if len(content) != span.length:
        raise unsupported("changed-while-reading")
    return content


def _put(out: int, content: bytes | memoryview) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(out, view) :]


def _move(source: int, out: int, span: Span) -> None:
    """Copy a span without passing it through this process."""
    place, end = span.offset, span.offset + span.length
    while place < end:
        moved = _kernel_copy(source, out, place, end - place)
        if moved == 0:
            raise unsupported("changed-while-reading")
        place += moved


def _move_checked(source: int, out: int, span: Span, unused: UnusedBits) -> None:
    """Copy a span piece by piece, each looked through while it is in the processor's cache."""
    room = memoryview(bytearray(min(_PIECE, span.length)))
    for start in range(0, span.length, _PIECE):
        piece = room[: span.length - start]
        if os.preadv(source, [piece], span.offset + start) != len(piece):
            raise unsupported("changed-while-reading")
        unused.check(piece)
        _put(out, piece)


def _kernel_copy(source: int, out: int, place: int, count: int) -> int:
    """One step of `copy_file_range`, or of `sendfile` where the file system does not know it; bytes moved."""
    try:
        return os.copy_file_range(source, out, count, offset_src=place)
    except OSError:
        return os.sendfile(out, source, place, count)
