"""Writing a new file: pixel bytes moved by the kernel, made durable together with the other files of its study.

Nothing is hashed here: the stage that checks a file hashes what it checks. Nobody looks into the folder before it is
complete and renamed, so its files need no temporary names of their own.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from site_node.deidentify.assemble import NewFile
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Span

MTIME = 946_684_800  # 2000-01-01: the time of processing says nothing to the receiver
_MOST_IN_MEMORY = 1 << 30  # bytes of one file's compressed frames
_MOST_OPEN = 128  # files that wait for the disk together
_MOST_UNWRITTEN = 1 << 28  # bytes of these files
_WORKERS = 4


class Durable:
    """Files that were written and must reach the disk before their study is reported.

    Many are synced at once: by then the disk has begun to write, and it orders the rest itself.
    """

    def __init__(self) -> None:
        self._files: list[int] = []
        self._bytes = 0
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sync")

    def __enter__(self) -> Self:
        """Nothing waits yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all of them; raises `OSError` where the disk is full, unless there is an error already."""
        with self._pool:
            try:
                self._sync()
            except OSError:
                if error is None:
                    raise

    def add(self, file: int, size: int) -> None:
        """Take over a written file's descriptor and give it a time that says nothing; raises `OSError`."""
        self._files.append(file)
        os.utime(file, (MTIME, MTIME))
        self._bytes += size
        if len(self._files) >= _MOST_OPEN or self._bytes >= _MOST_UNWRITTEN:
            self._sync()

    def _sync(self) -> None:
        files, self._files, self._bytes = self._files, [], 0
        parts = [files[first::_WORKERS] for first in range(min(_WORKERS, len(files)))]
        for done in [self._pool.submit(_sync_all, part) for part in parts]:
            done.result()


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


def _sync_all(files: Sequence[int]) -> None:
    """Make files durable and close them, each of them whatever happens to the others."""
    with ExitStack() as stack:
        for file in files:
            stack.callback(os.close, file)
        for file in files:
            os.fsync(file)
