"""The node as a service: pass after pass over the inbox, the network's arrivals and the stages, until told to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from shared.errors import DiskFull, DiskNearlyFull, NoDicomFound, RicordError, SettingsError
from site_node.home.ledger import State
from site_node.membership.renewal import renew_if_due
from site_node.node.acquisition import Acquisition
from site_node.node.federation import start_federation
from site_node.node.inbox import Watch
from site_node.node.intake import Intake, receive_source
from site_node.node.open import Node, membership_of
from site_node.node.passes import Pass, run_pass
from site_node.study import Ending

log = structlog.get_logger(__name__)


def serve(node: Node, stop: threading.Event, *, federation: bool, ready: Callable[[], None]) -> None:
    """Run until `stop`; `ready` is called once the node listens. `federation`: take part in federated work beside it.

    Raises the errors of settings; what else fails is logged by its code and tried again at the next pass.
    """
    acquisition = Acquisition(node.home, node.settings, node.stages.pseudonyms)
    with acquisition.running(stop):
        worker = start_federation(node, stop) if federation else None
        ready()
        try:
            _serve(node, stop, acquisition)
        finally:
            stop.set()
            if worker is not None:
                worker.join()


def run_once(node: Node, stop: threading.Event) -> Pass:
    """Receive what is in the inbox and what the PACS is due for, then take every study as far as it goes."""
    _receive_inbox(node, Watch(node.ledger, node.home.inbox(node.settings), settle=False))
    acquisition = Acquisition(node.home, node.settings, node.stages.pseudonyms)
    if node.settings.asks_a_pacs:
        with acquisition.listening():
            acquisition.work(node.ledger, stop, patience=0)
    _receive_arrivals(node, acquisition, quiet_seconds=0)
    return run_pass(node, State.SUBMITTED, halted=stop.is_set)


@contextmanager
def until_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the work at hand ends whole."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve(node: Node, stop: threading.Event, acquisition: Acquisition) -> None:
    watch = Watch(node.ledger, node.home.inbox(node.settings), settle=True)
    while not stop.is_set():
        try:
            _receive(node, watch, acquisition)
            current = replace(node, membership=membership_of(node.home))
            if current.membership is not None:
                renew_if_due(node.home, datetime.now(UTC))
            _log_pass(run_pass(current, State.SUBMITTED, halted=stop.is_set))
        except SettingsError:
            raise
        except RicordError as error:
            log.warning("run.problem", code=error.code)
        stop.wait(node.settings.poll_seconds)


def _receive(node: Node, watch: Watch, acquisition: Acquisition) -> None:
    """Receive what came; a full disk stops that, and what can leave still does."""
    try:
        _receive_inbox(node, watch)
        _receive_arrivals(node, acquisition)
    except (DiskFull, DiskNearlyFull) as error:
        log.warning("receive.blocked", code=error.code, message=error.public)


def _receive_inbox(node: Node, watch: Watch) -> None:
    """Receive what is new in the inbox; an entry that holds no DICOM is noted and left."""
    for entry in watch.ready():
        try:
            _log_intake(receive_source(node, entry.path))
        except NoDicomFound:
            node.ledger.add_files([(entry.path.name, Ending.REFUSED, "no-dicom-found")])
        except (DiskFull, DiskNearlyFull):
            raise
        except RicordError as error:
            log.warning("receive.problem", code=error.code)
            continue
        watch.done(entry)


def _receive_arrivals(node: Node, acquisition: Acquisition, *, quiet_seconds: float | None = None) -> None:
    """Receive what came over the network, and forget what was asked for long enough ago."""
    for intake in acquisition.receive_arrivals(node.ledger, quiet_seconds=quiet_seconds):
        _log_intake(intake)
    acquisition.forget(node.ledger, datetime.now(UTC))


def _log_intake(intake: Intake) -> None:
    counts = {"studies": intake.studies, "instances": intake.instances, "late": intake.late}
    log.info("receive.done", **counts, files=sum(intake.files.values()))


def _log_pass(done: Pass) -> None:
    for key, state in done.reached.items():
        log.info("study", study=key, state=state.value)
    if done.progress.blocked is not None:
        blocked = done.progress.blocked
        log.warning("submit.blocked", code=blocked.code, message=blocked.public)
