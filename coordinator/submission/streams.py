"""Limits on one site's open uploads: a few threads, and none for an idle stream."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from shared.errors import BUSY_SECONDS, CoordinatorBusy

Part = TypeVar("Part")

IDLE_SECONDS = 120.0  # a working connection delivers a chunk of 1 MiB in that time
STREAMS_PER_SITE = 4


class Streams:
    """Counts the open uploads of each site."""

    def __init__(self, limit: int = STREAMS_PER_SITE) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, site: str) -> Iterator[None]:
        """Count one more upload while the block runs; raises `CoordinatorBusy` when the site is at its limit."""
        with self._lock:
            if self._open[site] >= self._limit:
                raise CoordinatorBusy(f"{self._limit} uploads of site {site} are open", seconds=str(BUSY_SECONDS))
            self._open[site] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[site] -= 1


@contextmanager
def idle_timeout(parts: Iterator[Part], cancel: Callable[[], object], seconds: float) -> Iterator[Iterator[Part]]:
    """The same parts; `cancel` is called once when the next part does not arrive within `seconds`.

    Time spent on processing a part, as on a slow disk, does not count.
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
