"""How many bytes of answers are kept: of one site and run at most as much as its plan lets one answer have.

All that a site sends for one message counts together, however often it begins again, so nobody fills the centre's
memory; an answer that does not fit is that site's refusal.
"""

import threading
from collections.abc import Collection

TOO_LARGE = "its answer is larger than the run's plan allows"


class AnswerRoom:
    """The room for the answer to each message that was sent; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}  # bytes, by the message that is answered
        self._too_large = set[str]()

    def open(self, message: str, size: int) -> None:
        """Let the answer to a message have `size` bytes."""
        with self._lock:
            self._left[message] = size

    def use(self, message: str, size: int) -> bool:
        """Whether `size` more bytes fit, which then count. From the first that do not fit, none do."""
        with self._lock:
            if message in self._too_large or self._left.get(message, 0) < size:
                self._too_large.update({message} & self._left.keys())
                return False
            self._left[message] -= size
            return True

    def is_too_large(self, message: str) -> bool:
        """Whether the answer to a message did not fit."""
        with self._lock:
            return message in self._too_large

    def close(self, messages: Collection[str]) -> None:
        """Forget messages that nobody waits for any more."""
        with self._lock:
            for message in messages:
                self._left.pop(message, None)
            self._too_large.difference_update(messages)
