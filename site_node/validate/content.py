"""Reading files for validation: whole or mapped, hashed in threads ahead of the checks."""

import hashlib
import mmap
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from shared.ids import Sha256

_SMALL = 1 << 16  # bytes up to which a file is simply read; larger ones are mapped
_WINDOW = 1 << 22  # bytes of a mapped file that are in memory at once
_WORKERS = min(4, os.cpu_count() or 1)
_AHEAD = 2 * _WORKERS  # files that are read before they are asked for


class Content(NamedTuple):
    """The bytes of a file and their SHA-256."""

    data: bytes | mmap.mmap
    sha256: Sha256


def contents(paths: Iterable[Path]) -> Iterator[Future[Content]]:
    """The content of each file, in order; an `OSError` shows in the result."""
    todo = iter(paths)
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="read") as pool:
        waiting = deque(pool.submit(_read, path) for path in islice(todo, _AHEAD))
        while waiting:
            yield waiting.popleft()
            waiting.extend(pool.submit(_read, path) for path in islice(todo, 1))


def _read(path: Path) -> Content:
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _SMALL:
            data = file.read()
            return Content(data, Sha256(hashlib.sha256(data).hexdigest()))
        populated = mmap.MAP_SHARED | mmap.MAP_POPULATE  # one call for all pages instead of a fault for each few
        if size <= _WINDOW:
            mapped = mmap.mmap(file.fileno(), size, populated, mmap.PROT_READ)
            return Content(mapped, Sha256(hashlib.sha256(mapped).hexdigest()))
        digest = hashlib.sha256()
        for start in range(0, size, _WINDOW):
            last = min(start + _WINDOW, size)
            with mmap.mmap(file.fileno(), last - start, populated, mmap.PROT_READ, offset=start) as window:
                digest.update(window)
        mapped = mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ)
        return Content(mapped, Sha256(digest.hexdigest()))
