"""How many bytes in a second leave the hospital."""

import time
from collections.abc import Callable
from threading import Lock

CHUNK = 1 << 20  # bytes; larger ones were not faster, and a message must stay under 4 MiB


class Pace:
    """A rate that all uploads keep together, in bytes a second; 0: as many as go. `sent` is called with each part."""

    def __init__(self, rate: float = 0, sent: Callable[[], object] = lambda: None) -> None:
        self._rate = rate
        self._sent = sent
        self._lock = Lock()
        self._free_at = 0.0  # monotonic seconds, when what was let go is over

    @property
    def chunk(self) -> int:
        """How many bytes to send at a time: no more than leave in half a second, so that no upload looks idle."""
        return min(CHUNK, max(1024, int(self._rate / 2))) if self._rate else CHUNK

    def wait(self, size: int) -> None:
        """Return when `size` bytes may go."""
        self._sent()
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            begins = max(now, self._free_at)
            self._free_at = begins + size / self._rate
        time.sleep(begins - now)
