"""`ricord-coordinator serve`: the process that serves until a stop signal, and the federation process it supervises."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from coordinator.home.identity import Identity
from coordinator.home.init import renew_own_certificates
from coordinator.home.settings import Home, Settings
from coordinator.home.signals import stop_signals
from coordinator.service.engine_state import Alive, Doing, EngineNotes
from coordinator.service.pulse import SILENCE_SECONDS, watch_child
from coordinator.service.server import Extra, serving
from coordinator.store.interface import Store
from shared.errors.settings import PortInUse
from shared.extras import ENGINE, require_extra
from shared.monitoring.supervision import notify

_RENEWAL_CHECK_SECONDS = 3600.0
_BEAT_SECONDS = 5.0  # in which a supervisor hears that the process goes on
_RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
_SETTLED_SECONDS = 600.0  # after which the next pause is the shortest again
_CHILD_GRACE_SECONDS = 10.0

_log = structlog.get_logger("coordinator")


def serve(
    home: Home,
    settings: Settings,
    identity: Identity,
    store: Store,
    *,
    extra: Extra,
    federation: bool,
    ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called once both ports answer. Raises `PortInUse`, `ExtraMissing`."""
    if federation:
        require_extra("federation", *ENGINE, otherwise=", or serve without federated runs with `--no-federation`")
        refuse_port_in_use(settings.host, settings.fleet_port, key="fleet_port")
    with stop_signals(ends=True) as stop:
        renew_own_certificates(home, settings, identity, store)
        child = _federation_child(home, store, stop, enabled=federation)
        with child, serving(home, settings, identity, store, extra=extra):
            ready()
            notify("READY=1")
            due = time.monotonic() + _RENEWAL_CHECK_SECONDS
            while not stop.wait(_BEAT_SECONDS):
                notify("WATCHDOG=1")
                if time.monotonic() >= due:
                    renew_own_certificates(home, settings, identity, store)
                    due = time.monotonic() + _RENEWAL_CHECK_SECONDS
            notify("STOPPING=1")


def refuse_port_in_use(host: str, port: int, *, key: str) -> None:
    """Raise `PortInUse` now rather than leave it to a child process's log."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(str(error), host=host, port=str(port), key=key) from error


@contextlib.contextmanager
def _federation_child(home: Home, store: Store, stop: threading.Event, *, enabled: bool) -> Iterator[None]:
    """Run the federation as a child process until `stop` or the end of the block, and restart it when it exits."""
    notes = EngineNotes(home.federation, store)
    if not enabled:
        notes.heard("off")
        yield
        return
    arguments = ("--home", str(home.folder), "serve", "--federation-only", "--supervised")
    command = (sys.executable, "-m", "coordinator.cli", *arguments)
    keeper = threading.Thread(target=keep_running, args=(command, stop, notes), name="federation keeper")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


class Notes(Protocol):
    """Who is told what a child does; `EngineNotes`."""

    def heard(self, doing: Doing) -> None:
        """It is alive, or is not wanted any more."""
        ...

    def ended(self, action: str, reason: str) -> None:
        """It ended without being asked to."""
        ...


def keep_running(
    command: Sequence[str],
    stop: threading.Event,
    notes: Notes,
    *,
    pauses: Sequence[float] = _RESTART_SECONDS,
    silence: Mapping[Alive, float] = SILENCE_SECONDS,
) -> None:
    """Run `command` until `stop` is set; restart it after increasing `pauses` (seconds) when it exits or hangs.

    It hangs when it gives no sign of life for the seconds that `silence` allows. Its standard input is a socket, on
    which it says what it does, and which ends with this process, however that ends.
    """
    attempt = 0
    while not stop.is_set():
        notes.heard("starting")
        started = time.monotonic()
        ours, theirs = socket.socketpair()
        with ours, subprocess.Popen(command, stdin=theirs.fileno()) as child:
            theirs.close()
            silent = watch_child(child, ours, stop, notes.heard, silence=silence)
            _end(child)
        if stop.is_set():
            break
        attempt = 0 if time.monotonic() - started > _SETTLED_SECONDS else attempt
        pause = pauses[min(attempt, len(pauses) - 1)]
        if silent is None:
            action, reason = "ended by itself", f"exit code {child.returncode}"
        else:
            action, reason = "ended since it hung", f"no sign of life for {silent:g} s"
        _log.error(f"federation {action}", reason=reason, next_start_seconds=pause)
        notes.ended(action, reason)
        stop.wait(pause)
        attempt += 1
    notes.heard("off")


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_CHILD_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
