"""The coordinator's parts put together: what `init` makes, what `serve` runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import structlog

from coordinator.cohort.service import CohortService
from coordinator.cohort.servicer import CohortServicer
from coordinator.federation.interface import LEADING, RUNS
from coordinator.federation.kept_models import KeptModels
from coordinator.federation.proposals import ProposalService
from coordinator.federation.registry import StoredNodes
from coordinator.federation.service import FederationService
from coordinator.federation.servicer import FederationServicer
from coordinator.federation.waiting import WaitingSites
from coordinator.home.authority import concerns
from coordinator.home.identity import Identity, utc_now
from coordinator.home.init import create_federation, open_home_store, open_identity, open_shared_files
from coordinator.home.settings import Home, Settings
from coordinator.home.signals import stop_signals
from coordinator.monitoring.endpoint import monitored
from coordinator.monitoring.health import engine_pulse
from coordinator.service.engine_state import Alive
from coordinator.service.pulse import Parent
from coordinator.service.server import Extra
from coordinator.service.supervisor import serve
from coordinator.store.interface import Store
from shared.errors.settings import StoreNotShared
from shared.monitoring.otlp import exporting
from shared.monitoring.supervision import notify
from shared.proto.ricord.v1 import cohort_pb2_grpc, federation_pb2_grpc

_log = structlog.get_logger("coordinator")
_TRY_SECONDS = 1.0


def init_home(home: Home, settings: Settings, text: str) -> Identity:
    """Create a federation under the protocol its settings name; raises what `create_federation` raises."""
    return create_federation(home, settings, text)


def run(home: Home, *, federation: bool, ready: Callable[[str], None]) -> None:
    """Serve until a stop signal; `ready` gets one line once both ports answer.

    Coordinators on several hosts may share one PostgreSQL; a second one on SQLite raises `StoreNotShared`.
    """
    with ExitStack() as stack:
        settings, identity, store = stack.enter_context(_open_home(home))
        stack.enter_context(exporting(settings.otlp, "ricord-coordinator"))
        first = stack.enter_context(store.locks.holding("serve"))
        if not first and not store.is_shared:
            raise StoreNotShared(folder=str(home.folder))
        for sentence in concerns(home, utc_now()):
            _log.warning("ca", message=sentence)
        stack.enter_context(monitored(settings.monitor, home, store))
        serve(
            home,
            settings,
            identity,
            store,
            extra=services(home, settings, identity, store),
            federation=federation,
            ready=lambda: ready(f"ready: enrolment {settings.addresses.enrolment}, main {settings.addresses.main}"),
        )


def run_federation(home: Home, *, supervised: bool) -> None:
    """Execute federated runs until a stop signal, or until standard input ends when `supervised`.

    Of several processes one holds the lock `LEADING` and does so; the others wait for it, with their fleet port closed.
    """
    with (
        _open_home(home) as (settings, identity, store),
        exporting(settings.otlp, "ricord-coordinator"),
        stop_signals(ends=True) as stop,
    ):
        hear = Parent(stop).hear if supervised else _Beating(home).hear
        if not supervised:
            notify("READY=1")  # it may stand by for ever
        while not stop.is_set():
            with store.locks.holding(LEADING) as leading:
                if leading:
                    hear("starting")
                    _lead(home, settings, identity, store, stop, alive=partial(hear, "serving"))
            hear("standby")
            stop.wait(_TRY_SECONDS)


def _lead(
    home: Home,
    settings: Settings,
    identity: Identity,
    store: Store,
    stop: threading.Event,
    *,
    alive: Callable[[], None],
) -> None:
    """Serve the fleet port and execute runs. The engine, which takes seconds to load, is not loaded before."""
    from coordinator.cohort.pooling import Pooling
    from coordinator.federation.kept_runs import KeptRuns
    from coordinator.federation.process import serve_federation
    from coordinator.federation.superlink import SuperLinkSettings

    superlink = SuperLinkSettings(
        folder=home.federation,
        host=settings.fleet_host or settings.host,
        port=settings.fleet_port,
        certificate=home.server_certificate,
        key=home.server_key,
    )
    kept = KeptRuns(open_shared_files(settings))
    statistics, key = Pooling(store, identity), identity.signing_key
    serve_federation(store, superlink, statistics=statistics, key=key, stop=stop, kept=kept, alive=alive)


def services(home: Home, settings: Settings, identity: Identity, store: Store) -> Extra:
    """Cohorts and federated runs on the main port: rows in the store, which the federation process executes."""
    nodes, waiting = StoredNodes(store), WaitingSites(store)
    runs = FederationService(store, identity, fleet_address=settings.fleet_address, nodes=nodes)
    models = KeptModels(home.federation / RUNS, open_shared_files(settings))
    federation = FederationServicer(runs, ProposalService(store, identity, nodes), models, waiting)
    cohort = CohortServicer(CohortService(store, runs))
    registers = (
        partial(federation_pb2_grpc.add_FederationServiceServicer_to_server, federation),
        partial(cohort_pb2_grpc.add_CohortServiceServicer_to_server, cohort),
    )
    return Extra(registers, waiting.watching())


class _Beating:
    """What a federation process without a parent calls in place of `Parent.hear`: `health` sees its pulse."""

    def __init__(self, home: Home) -> None:
        home.federation.mkdir(mode=0o700, exist_ok=True)
        self._pulse = engine_pulse(home)

    def hear(self, doing: Alive) -> None:
        """Note a sign of life."""
        self._pulse.beat("working" if doing == "starting" else "waiting")


@contextmanager
def _open_home(home: Home) -> Iterator[tuple[Settings, Identity, Store]]:
    settings = home.settings()
    identity = open_identity(home, settings)
    store = open_home_store(home, settings)
    try:
        yield settings, identity, store
    finally:
        store.close()
