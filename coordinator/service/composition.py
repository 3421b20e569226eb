"""The coordinator's parts put together: what `init` makes, what `serve` runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from coordinator.cohort.pooling import Pooling
from coordinator.cohort.service import CohortService
from coordinator.cohort.servicer import CohortServicer
from coordinator.federation.registry import StoredNodes
from coordinator.federation.service import FederationService
from coordinator.federation.servicer import FederationServicer
from coordinator.home.authority import concerns
from coordinator.home.identity import Identity, utc_now
from coordinator.home.init import create_federation, open_home_store, open_identity
from coordinator.home.settings import Home, Settings
from coordinator.service.server import Register
from coordinator.service.signals import stop_signals
from coordinator.service.supervisor import serve, stop_with_parent
from coordinator.store.interface import Store
from shared.proto.ricord.v1 import cohort_pb2_grpc, federation_pb2_grpc
from shared.protocol.loader import load_protocol

_log = structlog.get_logger("coordinator")


def init_home(home: Home, settings: Settings, text: str) -> Identity:
    """Create a federation under the protocol its settings name; raises what `create_federation` raises."""
    return create_federation(home, settings, text, protocol_digest=load_protocol(settings.protocol).digest)


def run(home: Home, *, federation: bool, ready: Callable[[str], None]) -> None:
    """Serve until a stop signal; `ready` gets one line once both ports answer."""
    with _open_home(home) as (settings, identity, store):
        for sentence in concerns(home, utc_now()):
            _log.warning("ca", message=sentence)
        serve(
            home,
            settings,
            identity,
            store,
            extra=services(settings, identity, store),
            federation=federation,
            ready=lambda: ready(f"ready: enrolment {settings.addresses.enrolment}, main {settings.addresses.main}"),
        )


def run_federation(home: Home, *, supervised: bool) -> None:
    """Execute federated runs until a stop signal, or until standard input ends when `supervised`."""
    from coordinator.federation.process import serve_federation
    from coordinator.federation.superlink import SuperLinkSettings

    with _open_home(home) as (settings, identity, store), stop_signals(ends=True) as stop:
        superlink = SuperLinkSettings(
            folder=home.federation,
            host=settings.fleet_host or settings.host,
            port=settings.fleet_port,
            certificate=home.server_certificate,
            key=home.server_key,
        )
        if supervised:
            stop_with_parent(stop)
        serve_federation(store, superlink, statistics=Pooling(store, identity), stop=stop)


def services(settings: Settings, identity: Identity, store: Store) -> tuple[Register, ...]:
    """Cohorts and federated runs on the main port: rows in the store, which the federation process executes."""
    runs = FederationService(store, identity, fleet_address=settings.fleet_address, nodes=StoredNodes(store))
    federation, cohort = FederationServicer(runs), CohortServicer(CohortService(store, runs))
    return (
        lambda server: federation_pb2_grpc.add_FederationServiceServicer_to_server(federation, server),
        lambda server: cohort_pb2_grpc.add_CohortServiceServicer_to_server(cohort, server),
    )


@contextmanager
def _open_home(home: Home) -> Iterator[tuple[Settings, Identity, Store]]:
    settings = home.settings()
    identity = open_identity(home, settings, protocol_digest=load_protocol(settings.protocol).digest)
    store = open_home_store(home, settings)
    try:
        yield settings, identity, store
    finally:
        store.close()
