"""How far an upload runs ahead of what the coordinator has said is durable: so much a cut sends again, at most."""

from threading import Condition

from shared.wire import UNACKNOWLEDGED


class Window:
    """One call's bytes: a thread waits before it sends more, another hears of durable sizes; `durable` is the first."""

    def __init__(self, durable: int) -> None:
        self._sent = self._durable = durable
        self._has_ended = False
        self._changed = Condition()

    def wait(self, size: int) -> bool:
        """Return when `size` more bytes may go: `False` where the call has ended, and none may."""
        with self._changed:
            self._sent += size
            self._changed.wait_for(lambda: self._has_ended or self._sent - self._durable <= UNACKNOWLEDGED)
            return not self._has_ended

    def acknowledge(self, durable: int) -> None:
        """Hear that so many bytes of the study are durable."""
        with self._changed:
            self._durable = max(self._durable, durable)
            self._changed.notify()

    def end(self) -> None:
        """Hear that the call has ended, however it did."""
        with self._changed:
            self._has_ended = True
            self._changed.notify()
