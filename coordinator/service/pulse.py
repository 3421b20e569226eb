"""Signs of life of the federation's engine, on the socket that is its standard input.

The child sends a byte about twice a second for as long as all its parts answer. It ends when the socket does, since
then its parent has exited, however that was.
"""

import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from coordinator.home.signals import end_soon
from coordinator.service.engine_state import Alive

_SIGNS: Mapping[Alive, bytes] = {"starting": b"-", "standby": b"b", "serving": b"s"}
_POLL_SECONDS = 0.2
_TURN_SECONDS = 1.0  # counts at most as silence: more means that this process itself was halted
SILENCE_SECONDS: Mapping[Alive, float] = {"starting": 300.0, "standby": 60.0, "serving": 60.0}  # that may be


class Parent:
    """The child's end. It sets `stop` when the parent has exited."""

    def __init__(self, stop: threading.Event) -> None:
        self._line = socket.socket(fileno=os.dup(0))
        stop_with_parent(stop)

    def hear(self, doing: Alive) -> None:
        """Send a sign of life; never waits, and one that cannot leave is left out."""
        with suppress(OSError):
            self._line.send(_SIGNS[doing], socket.MSG_DONTWAIT)


def stop_with_parent(stop: threading.Event) -> None:
    """Set `stop` when standard input ends: the parent process has exited."""

    def watch() -> None:
        while os.read(0, 1):  # not `sys.stdin`, whose lock a thread must not hold when the interpreter ends
            pass
        end_soon()
        stop.set()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def watch_child(
    child: "subprocess.Popen[bytes]",
    line: socket.socket,
    stop: threading.Event,
    heard: Callable[[Alive], None],
    *,
    silence: Mapping[Alive, float] = SILENCE_SECONDS,
) -> float | None:
    """Wait until the child exits or `stop` is set (`None`), or was silent for more seconds than it may be (so many).

    `heard` is called with what it does, each time that it says so.
    """
    doing: Alive = "starting"
    quiet, last = 0.0, time.monotonic()
    while child.poll() is None and not stop.is_set():
        readable, _, _ = select.select([line], [], [], _POLL_SECONDS)
        signs = line.recv(1 << 12) if readable else b""
        now = time.monotonic()
        quiet, last = quiet + min(now - last, _TURN_SECONDS), now
        if signs:
            doing = next(each for each, sign in _SIGNS.items() if sign == signs[-1:])
            quiet = 0.0
            heard(doing)
        elif readable:  # it has closed its end, as it does when it exits
            stop.wait(_POLL_SECONDS)
        if quiet > silence[doing]:
            return silence[doing]
    return None
