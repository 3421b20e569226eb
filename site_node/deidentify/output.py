"""Writing a new file: pixel bytes moved by the kernel. It becomes durable with the other files of its study.

Nothing is hashed here: the stage that checks a file hashes what it checks. Nobody looks into the folder before it is
complete and renamed, so its files need no temporary names of their own.
"""

import os

from site_node.deidentify.assemble import NewFile
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Span

MTIME = 946_684_800  # 2000-01-01: the time of processing says nothing to the receiver
_MOST_IN_MEMORY = 1 << 30  # bytes of one file's compressed frames


def write_new(new: NewFile, source: int, target: str) -> int:
    """Write `new` to the new file `target`, taking its pixel bytes from `source`; the descriptor of what was written.

    Raises:
        DicomUnsupported: the source ended early; no file is left.
        OSError: the disk is full or cannot be written; no file is left.
    """
    out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        _put(out, new.before)
        if isinstance(new.pixels, Span):
            _move(source, out, new.pixels)
        else:
            _put(out, new.pixels)
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


def _put(out: int, content: bytes) -> None:
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


def _kernel_copy(source: int, out: int, place: int, count: int) -> int:
    """One step of `copy_file_range`, or of `sendfile` where the file system does not know it; bytes moved."""
    try:
        return os.copy_file_range(source, out, count, offset_src=place)
    except OSError:
        return os.sendfile(out, source, place, count)
