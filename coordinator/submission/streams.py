"""No thread for an idle stream."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Part = TypeVar("Part")

IDLE_SECONDS = 120.0  # a working connection delivers a chunk of 1 MiB in that time


class IdleWatch:
    """Cancels streams whose next part does not arrive; one thread watches all of them, within `watching`."""

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = IDLE_SECONDS if seconds is None else seconds
        self._since: dict[Callable[[], object], float] = {}  # by what cancels it: since when a stream waits

    def watched(self, parts: Iterator[Part], cancel: Callable[[], object]) -> Iterator[Part]:
        """The same parts; time spent on processing a part, as on a slow disk, does not count."""
        try:
            while True:
                self._since[cancel] = time.monotonic()
                part = next(parts, None)
                self._since.pop(cancel, None)
                if part is None:
                    return
                yield part
        finally:
            self._since.pop(cancel, None)

    def cancel(self) -> None:
        """Cancel what has waited for too long."""
        late = time.monotonic() - self.seconds
        for cancel, since in tuple(self._since.items()):
            if since < late and self._since.pop(cancel, None) is not None:
                cancel()


@contextmanager
def watching(idle: IdleWatch) -> Iterator[IdleWatch]:
    """Cancel what is idle for too long, until the block ends."""
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(idle.seconds / 8):
            idle.cancel()

    sweeper = threading.Thread(target=sweep, name="idle streams")
    sweeper.start()
    try:
        yield idle
    finally:
        over.set()
        sweeper.join()
