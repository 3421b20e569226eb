"""`run` and `federate`: the node as a service."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import structlog
import typer

from shared.agreement import Mode
from shared.errors import (
    AgreementModeNotAllowed,
    DiskFull,
    DiskNearlyFull,
    NoDicomFound,
    NotEnrolled,
    ProtocolMismatch,
    RicordError,
    SettingsError,
)
from shared.protocol.loader import load_protocol
from shared.terminal import print_json, print_line
from shared.wire import connected
from site_node.commands.receive import receive_source
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.membership.record import Membership
from site_node.membership.renewal import renew_if_due
from site_node.node.acquisition import Acquisition
from site_node.node.inbox import Watch
from site_node.node.intake import Intake
from site_node.node.open import (
    Json,
    Node,
    Pass,
    home_of,
    membership_of,
    one_pass,
    open_node,
    tell,
    warn_without_pixel_check,
)
from site_node.study import Ending

log = structlog.get_logger(__name__)


def run(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Take the inbox and every study as far as it goes, then end.")
    ] = False,
    federation: Annotated[bool, typer.Option(help="Take part in federated work as the policy allows.")] = True,
    as_json: Json = False,
) -> None:
    """Run the node: receive what is put into the inbox, take every study through the stages, submit, federate.

    It goes on where it stopped, also after a crash, and ends orderly on Ctrl-C or SIGTERM. What leaves the hospital:
    sealed studies with their manifests, and answers to federated work that federation-policy.toml allows.

    Example: `ricord-site run`
    """
    with open_node(context) as node, _until_signal() as stop:
        warn_without_pixel_check(pixel_check=node.settings.pixel_check)
        if once:
            _take_inbox(node, Watch(node.ledger, node.home.inbox(node.settings), settle=False))
            _acquire_once(node, stop)
            done = one_pass(node, State.SUBMITTED, halted=stop.is_set)
            tell(done, as_json=as_json)
            if done.progress.blocked is not None:
                raise typer.Exit(done.progress.blocked.exit_code)
            return
        acquisition = Acquisition(node.home, node.settings, node.workshop.pseudonyms)
        with acquisition.running(stop):
            worker = _start_federation(node, stop) if federation else None
            print_line("ready")
            try:
                _serve(node, stop, acquisition)
            finally:
                stop.set()
                if worker is not None:
                    worker.join()


def federate(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when nothing came for a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Take part in federated statistics and training as federation-policy.toml allows; images stay here.

    What leaves the hospital: masked sums and model weights, each message vetted by the policy first.

    Example: `ricord-site federate`
    """
    home = home_of(context)
    settings = home.load()
    membership = membership_of(home)
    if membership is None:
        raise NotEnrolled(folder=str(home.folder))
    if not _may_federate(membership):
        raise AgreementModeNotAllowed(mode="statistics or training")
    with _until_signal() as stop:
        if not as_json:
            print_line("ready")
        answered = _federate(home, membership, settings.protocol, stop, once=once)
    if as_json:
        print_json({"answered": answered})
    else:
        print_line(f"{answered} messages were answered.")


def _serve(node: Node, stop: threading.Event, acquisition: Acquisition) -> None:
    """Pass after pass until told to stop; what fails is logged by its code and tried again at the next."""
    watch = Watch(node.ledger, node.home.inbox(node.settings), settle=True)
    while not stop.is_set():
        try:
            _take_in(node, watch, acquisition)
            current = Node(node.home, node.settings, node.ledger, membership_of(node.home))
            if current.membership is not None:
                renew_if_due(node.home, datetime.now(UTC))
            _log(one_pass(current, State.SUBMITTED, halted=stop.is_set))
        except SettingsError:
            raise
        except RicordError as error:
            log.warning("run.problem", code=error.code)
        stop.wait(node.settings.poll_seconds)


def _take_in(node: Node, watch: Watch, acquisition: Acquisition) -> None:
    """Take in what came; a full disk stops that, and what can leave still does."""
    try:
        _take_inbox(node, watch)
        _take_arrivals(node, acquisition)
    except (DiskFull, DiskNearlyFull) as error:
        log.warning("receive.blocked", code=error.code, message=error.public)


def _take_inbox(node: Node, watch: Watch) -> None:
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


def _acquire_once(node: Node, stop: threading.Event) -> None:
    """Attempt the requests that are due now, and take in what came."""
    acquisition = Acquisition(node.home, node.settings, node.workshop.pseudonyms)
    if node.settings.asks_a_pacs:
        with acquisition.listening():
            acquisition.work(node.ledger, stop, patience=0)
    _take_arrivals(node, acquisition, quiet_seconds=0)


def _take_arrivals(node: Node, acquisition: Acquisition, *, quiet_seconds: float | None = None) -> None:
    """Take in what came over the network, and forget what was asked for long enough ago."""
    for intake in acquisition.take_in(node.ledger, quiet_seconds=quiet_seconds):
        _log_intake(intake)
    acquisition.forget(node.ledger, datetime.now(UTC))


def _log_intake(intake: Intake) -> None:
    counts = {"studies": intake.studies, "instances": intake.instances, "late": intake.late}
    log.info("receive.done", **counts, files=sum(intake.files.values()))


def _log(done: Pass) -> None:
    for key, state in done.reached.items():
        log.info("study", study=key, state=state.value)
    if done.progress.blocked is not None:
        blocked = done.progress.blocked
        log.warning("submit.blocked", code=blocked.code, message=blocked.public)


def _start_federation(node: Node, stop: threading.Event) -> threading.Thread | None:
    """Federated work beside the stages; a coordinator that is not there, or not ready for it, is tried again.

    Raises what `load_policy` raises: a policy that cannot be read must not look like one that allows nothing.
    """
    membership = node.membership
    if membership is None or not _may_federate(membership):
        return None
    from site_node.federate.policy import POLICY_FILE, load_policy  # noqa: PLC0415 -- as in `_federate`

    load_policy(node.home.folder / POLICY_FILE)

    def work() -> None:
        while not stop.is_set():
            try:
                _federate(node.home, membership, node.settings.protocol, stop, once=False)
            except RicordError as error:
                log.warning("federation.problem", code=error.code, message=error.public)
                stop.wait(node.settings.poll_seconds)

    thread = threading.Thread(target=work, name="federation")
    thread.start()
    return thread


def _federate(home: SiteHome, membership: Membership, protocol: str, stop: threading.Event, *, once: bool) -> int:
    # Imported here: torch and Flower take seconds and most commands need neither.
    from site_node.federate.connect import register_node, settings_for  # noqa: PLC0415 -- as the line above says
    from site_node.federate.executor import run_federate  # noqa: PLC0415 -- likewise

    digest = load_protocol(protocol).digest
    if digest != membership.protocol_digest:
        raise ProtocolMismatch(held=digest, wanted=membership.protocol_digest)
    with connected(membership.addresses.main, membership.credentials) as channel:
        address = register_node(channel, node_key=home.flower_key, protocol_digest=digest)
    settings = settings_for(
        home,
        site_id=membership.site_id,
        coordinator_key=membership.coordinator_verify_key,
        protocol_digest=digest,
        modes=membership.modes,
        agreement_expires_at=membership.terms.expires_at,
        fleet_address=address,
    )
    return run_federate(settings, stop=stop, once=once)


def _may_federate(membership: Membership) -> bool:
    return bool({Mode.COHORT, Mode.STATISTICS, Mode.TRAINING} & set(membership.modes))


@contextmanager
def _until_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the work at hand ends whole."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
