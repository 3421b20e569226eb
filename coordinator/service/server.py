"""The two gRPC ports: enrolment (server TLS) and main (mutual TLS), each with a health service."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from coordinator.agreements.service import AgreementService
from coordinator.agreements.servicer import AgreementServicer
from coordinator.audit.service import AuditService
from coordinator.audit.servicer import AuditServicer
from coordinator.enrolment.members import MemberService
from coordinator.enrolment.service import EnrolmentService
from coordinator.enrolment.servicer import EnrolmentServicer, MembershipServicer, SiteServicer
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.home.settings import Home, Settings
from coordinator.store.blobs import Blobs
from coordinator.store.interface import Store
from coordinator.submission.service import Limits, SubmissionService
from coordinator.submission.servicer import SubmissionServicer
from coordinator.trust.interceptor import AccessCheck, AccessInterceptor, access_check, no_check
from shared.errors import PortInUse
from shared.proto.ricord.v1 import (
    agreement_pb2_grpc,
    audit_pb2_grpc,
    enrolment_pb2_grpc,
    membership_pb2_grpc,
    site_pb2_grpc,
    submission_pb2_grpc,
)
from shared.wire import SERVER_OPTIONS

_ENROLMENT_THREADS = 16
_MAIN_THREADS = 32  # an upload holds one for as long as it lasts
_QUEUED_CALLS = 32  # calls that may wait for a thread; more are rejected
# Anybody may connect here, open a call and send nothing: the connection ends after a minute, and its calls with it.
_ENROLMENT_OPTIONS = (("grpc.max_connection_age_ms", 60_000), ("grpc.max_connection_age_grace_ms", 10_000))
_GRACE_SECONDS = 10.0

Register = Callable[[grpc.Server], None]


@contextmanager
def serving(
    home: Home,
    settings: Settings,
    identity: Identity,
    store: Store,
    *,
    extra: tuple[Register, ...] = (),
    clock: Clock = utc_now,
) -> Iterator[None]:
    """Serve both ports while the block runs; `extra` adds the services of cohorts and federated runs to the main one.

    Raises `PortInUse`. At the end open calls get ten seconds; an upload cut off then can resume later.
    """
    enrolment = _server(_ENROLMENT_THREADS, no_check, _ENROLMENT_OPTIONS)
    service = EnrolmentService(store, identity, clock)
    enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(EnrolmentServicer(service, identity), enrolment)
    main = _server(_MAIN_THREADS, access_check(store, clock))
    _register_main(main, home, settings, identity, store, enrolment=service, clock=clock)
    for register in extra:
        register(main)
    started: list[grpc.Server] = []
    try:
        for server, key, port, root in (
            (enrolment, "enrolment_port", settings.enrolment_port, None),
            (main, "main_port", settings.main_port, identity.root),
        ):
            _bind(server, home, settings.host, port, key=key, root=root)
            server.start()
            started.append(server)
        yield
    finally:
        for stopped in [server.stop(_GRACE_SECONDS) for server in started]:
            stopped.wait()


def _register_main(
    main: grpc.Server,
    home: Home,
    settings: Settings,
    identity: Identity,
    store: Store,
    *,
    enrolment: EnrolmentService,
    clock: Clock,
) -> None:
    limits = Limits(study=settings.largest_study_bytes, unfinished=settings.unfinished_bytes_per_site)
    submissions = SubmissionService(store, Blobs(home.blobs), identity, clock, limits)
    agreements = AgreementService(store, identity, clock)
    members = MemberService(store, identity, clock)
    agreement_pb2_grpc.add_AgreementServiceServicer_to_server(AgreementServicer(agreements), main)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(AuditService(store)), main)
    membership_pb2_grpc.add_MembershipServiceServicer_to_server(MembershipServicer(enrolment, identity), main)
    site_pb2_grpc.add_SiteServiceServicer_to_server(SiteServicer(members), main)
    submission_pb2_grpc.add_SubmissionServiceServicer_to_server(SubmissionServicer(submissions), main)


def _server(threads: int, check: AccessCheck, options: tuple[tuple[str, int], ...] = ()) -> grpc.Server:
    server = grpc.server(
        ThreadPoolExecutor(threads),
        interceptors=[AccessInterceptor(check)],
        options=(*SERVER_OPTIONS, *options),
        maximum_concurrent_rpcs=threads + _QUEUED_CALLS,
    )
    checks = health.HealthServicer()
    checks.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    return server


def _bind(server: grpc.Server, home: Home, host: str, port: int, *, key: str, root: bytes | None) -> None:
    """Open a TLS port; with a `root`, clients must present a certificate it issued. Raises `PortInUse`."""
    try:
        server.add_secure_port(f"{host}:{port}", _credentials(home, root))
    except RuntimeError as error:
        raise PortInUse(str(error), host=host, port=str(port), key=key) from error


def _credentials(home: Home, root: bytes | None) -> grpc.ServerCredentials:
    """Read from disk again at each new connection, so that a renewed certificate is presented without a restart."""

    def current() -> grpc.ServerCertificateConfiguration:
        pair = (home.server_key.read_bytes(), home.server_certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=root)

    return grpc.dynamic_ssl_server_credentials(current(), current, require_client_authentication=root is not None)
