"""Reading files for validation: whole or mapped, and hashed by a thread that is some files ahead of the checks.

Python runs one thread at a time, and a thread that returns from the kernel waits for the running one. So the checking
thread opens and reads the files, and the other thread only hashes, which releases the interpreter lock.
"""

import hashlib
import mmap
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from shared.ids import Sha256

_SMALL = 1 << 16  # bytes; larger files are mapped, not read
_WINDOW = 1 << 22  # bytes of a mapped file in memory at once
_AHEAD = 16  # files read before they are asked for
_MOST_AHEAD = 1 << 24  # bytes of them
_POPULATED = mmap.MAP_SHARED | mmap.MAP_POPULATE  # one call for all pages instead of a fault for each few
_Data = bytes | mmap.mmap
_Hashed = _Data | int | None  # a file's bytes, or its descriptor, which the hashing closes; None ends it


class Content(NamedTuple):
    """The bytes of a file and their SHA-256."""

    data: _Data
    sha256: Sha256


def contents(paths: Iterable[Path]) -> Iterator[Content | OSError]:
    """The content of each file, in order, or why it cannot be read."""
    remaining, queue, queued = iter(paths), deque[_Data | OSError](), 0  # `queued` in bytes
    with _hashing() as (data, digests):
        while True:
            while len(queue) < _AHEAD and (not queue or queued < _MOST_AHEAD):
                path = next(remaining, None)
                if path is None:
                    break
                queue.append(_read(path, data))
                queued += _size(queue[-1])
            if not queue:
                return
            first = queue.popleft()
            queued -= _size(first)
            yield first if isinstance(first, OSError) else Content(first, digests.get())


@contextmanager
def _hashing() -> Iterator[tuple[SimpleQueue[_Hashed], SimpleQueue[Sha256]]]:
    """Two queues: what is put into the first comes out of the second as its SHA-256, in the same order."""
    data, digests = SimpleQueue[_Hashed](), SimpleQueue[Sha256]()
    thread = Thread(target=_hash_all, args=(data, digests), name="hash")
    thread.start()
    try:
        yield data, digests
    finally:
        data.put(None)
        thread.join()


def _hash_all(data: SimpleQueue[_Hashed], digests: SimpleQueue[Sha256]) -> None:
    while (entry := data.get()) is not None:
        digests.put(Sha256(_hash_windows(entry) if isinstance(entry, int) else hashlib.sha256(entry).hexdigest()))


def _hash_windows(file: int) -> str:
    digest, size = hashlib.sha256(), os.fstat(file).st_size
    try:
        for start in range(0, size, _WINDOW):
            last = min(start + _WINDOW, size)
            with mmap.mmap(file, last - start, _POPULATED, mmap.PROT_READ, offset=start) as window:
                digest.update(window)
    finally:
        os.close(file)
    return digest.hexdigest()


def _read(path: Path, hashed: SimpleQueue[_Hashed]) -> _Data | OSError:
    """A file's bytes, which are now queued to be hashed."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(file).st_size
            if size <= _SMALL:
                data: _Data = os.read(file, _SMALL + 1)
            else:
                data = mmap.mmap(file, size, _POPULATED if size <= _WINDOW else mmap.MAP_SHARED, mmap.PROT_READ)
            hashed.put(data if size <= _WINDOW else os.dup(file))
        finally:
            os.close(file)
    except OSError as error:
        return error
    return data


def _size(read: _Data | OSError) -> int:
    """Bytes in memory: of a mapped file, one window."""
    return 0 if isinstance(read, OSError) else min(len(read), _WINDOW)
