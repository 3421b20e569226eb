"""The node as a service: pass after pass over the inbox, the network's arrivals and the stages, until stopped."""

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from shared.errors.base import RicordError
from shared.errors.inputs import NoDicomFound
from shared.errors.settings import HomeBusy, SettingsError
from shared.errors.storage import DiskFull, DiskNearlyFull
from shared.logs import about
from shared.monitoring.supervision import notify
from site_node.home.ledger import Ledger, State
from site_node.monitoring.endpoint import monitored
from site_node.monitoring.watch import Watch
from site_node.node.acquisition import Acquisition
from site_node.node.crew import Crew
from site_node.node.daily_proof import DailyProof
from site_node.node.federation import start_federation
from site_node.node.heartbeat import start_heartbeat
from site_node.node.inbox import InboxWatcher
from site_node.node.intake import Intake, receive_source
from site_node.node.obstacles import home_failed
from site_node.node.open import Node, membership_of
from site_node.node.passes import Pass, run_pass
from site_node.study import Ending
from site_node.submit.states import StatesWatch

log = structlog.get_logger(__name__)

_END_SECONDS = 10.0  # for what takes longer to end than the system waits before it kills
_WAKE_SECONDS = 1.0  # in which an idle node sees what persons and commands changed
STOPPING = "Stopping, once the current step is complete.\n"


def serve(node: Node, stop: threading.Event, *, federation: bool, ready: Callable[[], None]) -> None:
    """Run until `stop`; `ready` is called once the node listens. With `federation`, also take part in federated work.

    Raises the errors of settings; other errors are logged by their codes, and the next pass tries again.
    """
    acquisition, watch = Acquisition(node.home, node.settings, node.stages.names), Watch(node.home)
    watch.working()
    monitor = node.settings.monitor, node.home, node.free_space, watch
    with node.home.serving(), acquisition.running(stop), monitored(*monitor):
        threads: list[threading.Thread | None] = []
        try:
            threads.append(start_heartbeat(node, stop, watch.reached))
            threads.append(start_federation(node, stop) if federation else None)
            ready()
            notify("READY=1")
            _serve(node, stop, acquisition, watch)
        finally:
            notify("STOPPING=1")
            stop.set()
            for thread in filter(None, threads):
                thread.join(_END_SECONDS)


def run_once(node: Node, stop: threading.Event) -> Pass:
    """Receive the inbox, work on due requests to the PACS, then move every study as far as it can go."""
    inbox = InboxWatcher(node.ledger, node.home.inbox(node.settings), settle=False)
    _receive_inbox(node, inbox, Watch(node.home))
    acquisition = Acquisition(node.home, node.settings, node.stages.names)
    if node.settings.asks_a_pacs:
        with acquisition.listening():
            acquisition.work(node.ledger, stop, patience=0)
    _receive_arrivals(node, acquisition, quiet_seconds=0)
    if node.membership is not None:
        DailyProof().ask_if_due(node.home, node.membership)
        StatesWatch().ask_if_due(node.home, node.ledger, node.membership)
    return run_pass(node, State.SUBMITTED, halted=stop.is_set, shown=True)


@contextmanager
def until_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the current step is completed; a terminal shows it at once."""
    stop = threading.Event()

    def end(*_: object) -> None:
        if sys.stderr.isatty() and not stop.is_set():
            os.write(sys.stderr.fileno(), STOPPING.encode())  # `print` may be interrupted by this very handler
        stop.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _serve(node: Node, stop: threading.Event, acquisition: Acquisition, watch: Watch) -> None:
    """Pass after pass; workers and the text detector stay while passes move studies."""
    inbox, proof = InboxWatcher(node.ledger, node.home.inbox(node.settings), settle=True), DailyProof()
    states, halted = StatesWatch(), watch.halted(stop)
    with closing(Crew(halted)) as crew:
        while not stop.is_set():
            is_woken: Callable[[], bool] = bool  # never, where the ledger cannot be asked
            moved = 0
            try:
                is_woken = _waker(node.ledger)
                _receive(node, inbox, acquisition, watch)
                current = replace(node, membership=membership_of(node.home))
                if current.membership is not None:
                    proof.ask_if_due(node.home, current.membership)
                    states.ask_if_due(node.home, node.ledger, current.membership)
                completed = run_pass(current, State.SUBMITTED, halted=halted, crew=crew, watch=watch)
                moved = completed.progress.moved
                _log_pass(completed)
            except SettingsError:
                raise
            except (RicordError, OSError, sqlite3.Error) as error:
                log.warning("run.problem", **about(error if isinstance(error, RicordError) else home_failed(error)))
            if not moved:
                crew.close()
            _wait(stop, node.settings.poll_seconds, is_woken, watch)


def _waker(ledger: Ledger) -> Callable[[], bool]:
    """Whether a command has entered, or decided on, a study since now; it is cheap where nothing changed."""
    since, version = datetime.now(UTC), ledger.version

    def is_woken() -> bool:
        nonlocal version
        with suppress(sqlite3.Error):  # the next pass tells of it
            before, version = version, ledger.version
            return before != version and ledger.has_changed(since)
        return False

    return is_woken


def _wait(stop: threading.Event, seconds: float, is_woken: Callable[[], bool], watch: Watch) -> None:
    """Wait for the next pass: so many seconds, or until `is_woken` or `stop`."""
    due = time.monotonic() + seconds
    while (left := due - time.monotonic()) > 0 and not stop.wait(min(left, _WAKE_SECONDS)) and not is_woken():
        watch.waiting()


def _receive(node: Node, inbox: InboxWatcher, acquisition: Acquisition, watch: Watch) -> None:
    """Receive from inbox and network; on a full disk log an error, so that the pass still sends studies."""
    try:
        _receive_inbox(node, inbox, watch)
        _receive_arrivals(node, acquisition)
    except (DiskFull, DiskNearlyFull) as error:
        log.warning("receive.blocked", **about(error))


def _receive_inbox(node: Node, inbox: InboxWatcher, watch: Watch) -> None:
    """Receive new entries of the inbox; an entry without DICOM is noted in the ledger."""
    for entry in inbox.ready():
        try:
            _log_intake(receive_source(node, entry.path, on_file=watch.working))
        except NoDicomFound:
            node.ledger.add_files([(entry.path.name, Ending.REFUSED, "no-dicom-found")])
        except HomeBusy:  # a command receives; the inbox waits for it, the studies do not
            return
        except (DiskFull, DiskNearlyFull):
            raise
        except RicordError as error:
            log.warning("receive.problem", code=error.code)
            continue
        inbox.mark_received(entry)


def _receive_arrivals(node: Node, acquisition: Acquisition, *, quiet_seconds: float | None = None) -> None:
    """Receive studies from the network, and forget lists whose time is over."""
    for intake in acquisition.receive_arrivals(node.ledger, quiet_seconds=quiet_seconds):
        _log_intake(intake)
    acquisition.forget(node.ledger, datetime.now(UTC))


def _log_intake(intake: Intake) -> None:
    counts = {"studies": intake.studies, "instances": intake.instances, "late": intake.late}
    log.info("receive.done", **counts, files=sum(intake.files.values()))


def _log_pass(completed: Pass) -> None:
    for key, state in completed.reached.items():
        log.info("study", study=key, state=state.value)
    if completed.progress.blocked is not None:
        blocked = completed.progress.blocked
        log.warning("submit.blocked", **about(blocked))
