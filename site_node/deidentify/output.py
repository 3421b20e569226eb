"""Writing a new file: under a temporary name, pixel bytes moved by the kernel, hashed, synced, then renamed."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from shared.ids import Sha256
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.elements import Span
from site_node.deidentify.reasons import stop

MTIME = 946_684_800  # 2000-01-01: the time of processing says nothing to the receiver
_CHUNK = 1 << 20


class Written(NamedTuple):
    """Size and SHA-256 of a file as it was written."""

    size: int
    sha256: Sha256


def write_new(new: NewFile, source: Path, target: Path) -> Written:
    """Write `new` to `target`, taking its pixel bytes from `source`.

    Raises:
        DicomUnsupported: the source ended early.
        OSError: the disk is full or cannot be written; no file is left.
    """
    partial = target.with_suffix(".partial")
    try:
        with partial.open("wb", buffering=0) as out:
            digest = hashlib.sha256()
            _put(out.fileno(), new.before, digest)
            if isinstance(new.pixels, Span):
                _move(source, out.fileno(), new.pixels, digest)
            else:
                _put(out.fileno(), new.pixels, digest)
            _put(out.fileno(), new.after, digest)
            size = os.lseek(out.fileno(), 0, os.SEEK_CUR)
            os.utime(out.fileno(), (MTIME, MTIME))
            os.fsync(out.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return Written(size, Sha256(digest.hexdigest()))


def read_span(source: Path, span: Span) -> bytes:
    """The bytes of a span; stops when the file ends before it does."""
    with source.open("rb") as file:
        file.seek(span.offset)
        content = file.read(span.length)
    if len(content) != span.length:
        raise stop("changed-while-reading")
    return content


def _put(out: int, content: bytes, digest: "hashlib._Hash") -> None:
    view = memoryview(content)
    digest.update(view)
    while view:
        view = view[os.write(out, view) :]


def _move(source: Path, out: int, span: Span, digest: "hashlib._Hash") -> None:
    """Copy a span without its passing through this process, then hash what arrived."""
    start = os.lseek(out, 0, os.SEEK_CUR)
    with source.open("rb", buffering=0) as file:
        place, end = span.offset, span.offset + span.length
        while place < end:
            moved = _kernel_copy(file.fileno(), out, place, end - place)
            if moved == 0:
                raise stop("changed-while-reading")
            place += moved
    os.lseek(out, start + span.length, os.SEEK_SET)
    buffer = memoryview(bytearray(min(_CHUNK, span.length)))
    with open(f"/proc/self/fd/{out}", "rb", buffering=0) as back:  # noqa: PTH123  # a descriptor has no path of its own
        back.seek(start)
        while got := back.readinto(buffer):
            digest.update(buffer[:got])


def _kernel_copy(source: int, out: int, place: int, count: int) -> int:
    """One step of `copy_file_range`, or of `sendfile` where the file system does not know it; bytes moved."""
    try:
        return os.copy_file_range(source, out, count, offset_src=place)
    except OSError:
        return os.sendfile(out, source, place, count)
