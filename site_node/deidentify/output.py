"""Writing a new file: pixel bytes moved by the kernel, then hashed and made durable beside the next file's work.

The hash is taken of what arrived, not of what was sent. A file lies in a folder that nobody looks into before it is
complete and renamed, so files need no temporary names of their own.
"""

import hashlib
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from shared.ids import Sha256
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.elements import Span
from site_node.deidentify.reasons import stop

MTIME = 946_684_800  # 2000-01-01: the time of processing says nothing to the receiver
_WINDOW = 1 << 22  # bytes of a file that are mapped at once: memory does not grow with the file
_MOST_IN_MEMORY = 1 << 30  # bytes of one file's compressed frames
_SMALL = 1 << 16  # bytes that are hashed sooner than another thread is woken
_POPULATED = mmap.MAP_SHARED | mmap.MAP_POPULATE  # one call for all pages instead of a fault for each few
_WORKERS = min(4, os.cpu_count() or 1)
_WAITING = 2 * _WORKERS  # files that may wait to be finished; each holds a descriptor


class Written(NamedTuple):
    """Size and SHA-256 of a file as it was written."""

    size: int
    sha256: Sha256


class Finisher:
    """Hashes and syncs files in threads of its own; both release Python's lock, so that other work goes on."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="finish")
        self._waiting: deque[Future[Written]] = deque()

    def __enter__(self) -> Self:
        """Nothing is begun before it is needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way."""
        self._pool.shutdown()  # a file that is never finished would keep its descriptor

    def finish(self, file: int) -> Future[Written]:
        """Take over a written file's descriptor; a full disk may show only in the result."""
        if os.fstat(file).st_size <= _SMALL:
            done: Future[Written] = Future()
            done.set_result(_finished(file))
            return done
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().exception()  # waits; whoever asked for it hears of an error
        future = self._pool.submit(_finished, file)
        self._waiting.append(future)
        return future


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
        os.unlink(target)  # noqa: PTH108  # as fast as the rest of this loop
        raise
    return out


def read_span(file: int, span: Span) -> bytes:
    """The bytes of a span, for compressed frames; stops when they are too many, or the file ends before they do."""
    if span.length > _MOST_IN_MEMORY:
        raise stop("too-large")
    content = os.pread(file, span.length, span.offset)
    if len(content) != span.length:
        raise stop("changed-while-reading")
    return content


def _put(out: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(out, view) :]


def _move(source: int, out: int, span: Span) -> None:
    """Copy a span without its passing through this process."""
    place, end = span.offset, span.offset + span.length
    while place < end:
        moved = _kernel_copy(source, out, place, end - place)
        if moved == 0:
            raise stop("changed-while-reading")
        place += moved


def _kernel_copy(source: int, out: int, place: int, count: int) -> int:
    """One step of `copy_file_range`, or of `sendfile` where the file system does not know it; bytes moved."""
    try:
        return os.copy_file_range(source, out, count, offset_src=place)
    except OSError:
        return os.sendfile(out, source, place, count)


def _finished(file: int) -> Written:
    """Hash a written file through small windows, give it a time that says nothing, and make it durable."""
    try:
        size = os.fstat(file).st_size
        digest = hashlib.sha256()
        for start in range(0, size, _WINDOW):
            with mmap.mmap(file, min(_WINDOW, size - start), _POPULATED, mmap.PROT_READ, offset=start) as window:
                digest.update(window)
        os.utime(file, (MTIME, MTIME))
        os.fsync(file)
    finally:
        os.close(file)
    return Written(size, Sha256(digest.hexdigest()))
