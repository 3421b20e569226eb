"""Shutdown on a signal: orderly, and over after some seconds in any case."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import structlog

END_SECONDS = 14.0  # from the signal: less than the least that a supervisor waits before it kills

_log = structlog.get_logger("coordinator")


@contextlib.contextmanager
def stop_signals(*, ends: bool = False) -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the previous handlers are restored at the end.

    With `ends` the process is over `END_SECONDS` after a signal, whatever its threads wait for.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        if ends and not stop.is_set():
            end_soon()
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_soon() -> None:
    """End the process after `END_SECONDS` where it has not ended by itself; that loses what a kill would: nothing."""

    def end() -> None:
        _log.warning("ended with calls that did not end")
        os._exit(0)

    timer = threading.Timer(END_SECONDS, end)
    timer.daemon = True
    timer.start()
