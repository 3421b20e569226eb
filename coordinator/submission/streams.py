"""No thread for an idle upload."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Part = TypeVar("Part")

IDLE_SECONDS = 120.0  # a working connection delivers a chunk of 1 MiB in that time


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
