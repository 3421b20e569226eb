"""What one site's open uploads may hold: a few threads, and none for a stream on which nothing comes."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from shared.errors import UploadInterrupted

Part = TypeVar("Part")

IDLE_SECONDS = 120.0  # a line that is alive brings a chunk of 1 MiB in that time
STREAMS_PER_SITE = 4


class Streams:
    """Counts the open uploads of each site."""

    def __init__(self, limit: int = STREAMS_PER_SITE) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, site: str) -> Iterator[None]:
        """One more upload while the block runs; raises `UploadInterrupted` when the site has as many as it may."""
        with self._lock:
            if self._open[site] >= self._limit:
                raise UploadInterrupted(f"{self._limit} uploads of site {site} are open")
            self._open[site] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[site] -= 1


@contextmanager
def heard(parts: Iterator[Part], cancel: Callable[[], object], seconds: float) -> Iterator[Iterator[Part]]:
    """The same parts; `cancel` is called once when the next one does not come within `seconds`.

    Time spent on a part that came, as on a slow disk, does not count.
    """
    over, since = threading.Event(), [time.monotonic()]

    def watch() -> None:
        while not over.wait(seconds / 8):
            if time.monotonic() - since[0] > seconds:
                cancel()
                return

    def timed() -> Iterator[Part]:
        since[0] = time.monotonic()
        for part in parts:
            since[0] = float("inf")
            yield part
            since[0] = time.monotonic()

    watcher = threading.Thread(target=watch, name="idle upload", daemon=True)
    watcher.start()
    try:
        yield timed()
    finally:
        over.set()
        watcher.join()
