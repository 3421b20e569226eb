"""Reading files for validation: whole or mapped, and hashed by a thread that is some files ahead of the checks.

Python lets one thread work at a time, and a thread that comes back from the kernel waits for the one that works. So
files are opened and read by the thread that checks them, and the other does nothing but hash, which needs no Python.
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

_SMALL = 1 << 16  # bytes up to which a file is simply read; larger ones are mapped
_WINDOW = 1 << 22  # bytes of a mapped file that are in memory at once
_AHEAD = 16  # files that are read before they are asked for
_MOST_AHEAD = 1 << 24  # bytes of them
_POPULATED = mmap.MAP_SHARED | mmap.MAP_POPULATE  # one call for all pages instead of a fault for each few
_Data = bytes | mmap.mmap
_Hashed = _Data | int | None  # a file's bytes, or its descriptor, which is closed then; None ends


class Content(NamedTuple):
    """The bytes of a file and their SHA-256."""

    data: _Data
    sha256: Sha256


def contents(paths: Iterable[Path]) -> Iterator[Content | OSError]:
    """The content of each file, in order, or why it cannot be read."""
    todo, waiting, ahead = iter(paths), deque[_Data | OSError](), 0
    with _hashing() as (data, digests):
        while True:
            while len(waiting) < _AHEAD and (not waiting or ahead < _MOST_AHEAD):
                path = next(todo, None)
                if path is None:
                    break
                waiting.append(_read(path, data))
                ahead += _size(waiting[-1])
            if not waiting:
                return
            first = waiting.popleft()
            ahead -= _size(first)
            yield first if isinstance(first, OSError) else Content(first, digests.get())


@contextmanager
def _hashing() -> Iterator[tuple[SimpleQueue[_Hashed], SimpleQueue[Sha256]]]:
    """What is put into the one queue comes out of the other as its SHA-256, in the same order."""
    data, digests = SimpleQueue[_Hashed](), SimpleQueue[Sha256]()
    thread = Thread(target=_hash_all, args=(data, digests), name="hash")
    thread.start()
    try:
        yield data, digests
    finally:
        data.put(None)
        thread.join()


def _hash_all(data: SimpleQueue[_Hashed], digests: SimpleQueue[Sha256]) -> None:
    while (one := data.get()) is not None:
        digests.put(Sha256(_hash_windows(one) if isinstance(one, int) else hashlib.sha256(one).hexdigest()))


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
    """A file's bytes, which are hashed from now on."""
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
