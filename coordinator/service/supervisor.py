"""`ricord-coordinator serve`: the process that serves until a stop signal, and the federation process it supervises."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import structlog

from coordinator.home.identity import Identity, utc_now
from coordinator.home.init import renew_own_certificates
from coordinator.home.settings import Home, Settings
from coordinator.service.server import Extra, serving
from coordinator.service.signals import end_soon, stop_signals
from coordinator.store.interface import Store
from shared.errors.base import RicordError
from shared.errors.settings import PortInUse
from shared.extras import ENGINE, require_extra

_RENEWAL_CHECK_SECONDS = 3600.0
_RESTART_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
_CHILD_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2

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
            while not stop.wait(_RENEWAL_CHECK_SECONDS):
                renew_own_certificates(home, settings, identity, store)


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
    if not enabled:
        yield
        return
    arguments = ("--home", str(home.folder), "serve", "--federation-only", "--supervised")
    command = (sys.executable, "-m", "coordinator.cli", *arguments)
    note = partial(_note_end, store)
    keeper = threading.Thread(target=keep_running, args=(command, stop, note), name="federation keeper")
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()


def _note_end(store: Store, exit_code: int) -> None:
    """An audit event; the federation is started again whether or not the database takes it."""
    try:
        with store.begin() as work:
            about, result = "federation", f"exit code {exit_code}"
            work.append_event(at=utc_now(), actor="coordinator", action="ended by itself", about=about, result=result)
    except RicordError as error:
        _log.warning("federation.not-noted", code=error.code)


def keep_running(
    command: Sequence[str],
    stop: threading.Event,
    ended: Callable[[int], None],
    *,
    pauses: Sequence[float] = _RESTART_SECONDS,
) -> None:
    """Run `command` until `stop` is set, and restart it after increasing `pauses` (seconds) when it exits.

    `ended` is called with the exit code each time that it exits by itself.

    The child watches its standard input, which ends with this process, however that ends.
    """
    attempt = 0
    while not stop.is_set():
        with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
            while child.poll() is None and not stop.wait(_POLL_SECONDS):
                pass
            _end(child)
        if not stop.is_set():
            pause = pauses[min(attempt, len(pauses) - 1)]
            _log.error("federation ended by itself", exit_code=child.returncode, next_start_seconds=pause)
            ended(child.returncode)
            stop.wait(pause)
            attempt += 1


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(_CHILD_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def stop_with_parent(stop: threading.Event) -> None:
    """Set `stop` when standard input ends: the parent process has exited."""

    def watch() -> None:
        while os.read(0, 1):  # not `sys.stdin`, whose lock a thread must not hold when the interpreter ends
            pass
        end_soon()
        stop.set()

    threading.Thread(target=watch, name="parent watch", daemon=True).start()
