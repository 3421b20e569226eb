"""The two gRPC ports: enrolment (server TLS) and main (mutual TLS), each with a health service."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from coordinator.agreements.service import AgreementService
from coordinator.agreements.servicer import AgreementServicer
from coordinator.audit.kept_head import keeping_head
from coordinator.audit.service import AuditService
from coordinator.audit.servicer import AuditServicer
from coordinator.editions.service import EditionService
from coordinator.editions.servicer import EditionServicer
from coordinator.enrolment.issued_tokens import IssuedTokens
from coordinator.enrolment.members import MemberService
from coordinator.enrolment.service import EnrolmentService
from coordinator.enrolment.servicer import EnrolmentServicer, MembershipServicer, SiteServicer
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.home.init import open_ciphertexts
from coordinator.home.settings import Home, Settings
from coordinator.presence.service import PresenceService
from coordinator.presence.servicer import PresenceServicer
from coordinator.service.admission import Admission
from coordinator.service.health_servicer import DatedHealth
from coordinator.service.slots import CALLS_EACH, by_address, by_certificate
from coordinator.store.interface import Store
from coordinator.submission.decisions import DecisionService
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.service import Limits, SubmissionService
from coordinator.submission.servicer import SubmissionServicer
from coordinator.submission.streams import IdleWatch, watching
from coordinator.submission.withdrawals import WithdrawalService, finishing
from coordinator.trust.interceptor import AccessInterceptor, access_check, no_check
from coordinator.trust.refusals import noting_refusals
from shared.errors.settings import PortInUse
from shared.proto.ricord.v1 import (
    agreement_pb2_grpc,
    audit_pb2_grpc,
    edition_pb2_grpc,
    enrolment_pb2_grpc,
    membership_pb2_grpc,
    presence_pb2_grpc,
    site_pb2_grpc,
    submission_pb2_grpc,
)
from shared.wire import SERVER_OPTIONS

# Anybody may connect to the enrolment port, so a connection, a message and a call are small and short there.
_ENROLMENT_OPTIONS = (
    ("grpc.max_connection_age_ms", 60_000),
    ("grpc.max_connection_age_grace_ms", 10_000),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.max_receive_message_length", 1 << 20),
)
# A connection ends after an hour; a call on it has another hour, and an upload that is cut off then resumes.
MAIN_OPTIONS = (
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 3_600_000),
    ("grpc.max_concurrent_streams", 64),
)
_GRACE_SECONDS = 10.0

Register = Callable[[grpc.Server], None]


class Extra(NamedTuple):
    """What the main port serves beside membership and submissions, and what runs for it until the server stops."""

    registers: tuple[Register, ...] = ()
    running: AbstractContextManager[None] = nullcontext()


NOTHING_EXTRA = Extra()


@contextmanager
def serving(
    home: Home,
    settings: Settings,
    identity: Identity,
    store: Store,
    *,
    extra: Extra = NOTHING_EXTRA,
    clock: Clock = utc_now,
) -> Iterator[None]:
    """Serve both ports while the block runs; `extra` adds the services of cohorts and federated runs to the main one.

    Raises `PortInUse`. At the end open calls get ten seconds; an upload cut off then can resume later.
    """
    newcomers = Admission(by_address(each=None if settings.behind_balancer else CALLS_EACH))
    members = Admission(by_certificate())
    note = noting_refusals(store, clock)
    enrolment = _server(newcomers, AccessInterceptor(no_check, note), _ENROLMENT_OPTIONS, store)
    service = EnrolmentService(store, identity, clock)
    enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(EnrolmentServicer(service, identity), enrolment)
    main = _server(members, AccessInterceptor(access_check(store, clock), note), MAIN_OPTIONS, store)
    audit = AuditService(store, identity, home.audit_head, clock)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(audit), main)
    ciphertexts = open_ciphertexts(home, settings, store.locks)
    withdrawals = WithdrawalService(store, ciphertexts, identity, clock)
    limits = Limits(study=settings.largest_study_bytes, unfinished=settings.unfinished_bytes_per_site)
    submissions = SubmissionService(store, ciphertexts, identity, clock, limits)
    decisions, idle = DecisionService(store, identity, clock), IdleWatch()
    submission_pb2_grpc.add_SubmissionServiceServicer_to_server(
        SubmissionServicer(submissions, SubmissionLists(store), decisions, withdrawals, idle), main
    )
    _register_main(main, identity, store, enrolment=service, clock=clock)
    for register in extra.registers:
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
        with keeping_head(audit), finishing(withdrawals), watching(idle), extra.running:
            yield
    finally:
        for stopped in [server.stop(_GRACE_SECONDS) for server in started]:
            stopped.wait()
        newcomers.shutdown()
        members.shutdown()


def _register_main(
    main: grpc.Server,
    identity: Identity,
    store: Store,
    *,
    enrolment: EnrolmentService,
    clock: Clock,
) -> None:
    agreements, editions = AgreementService(store, identity, clock), EditionService(store, identity, clock)
    editions.note_installed()
    members = MemberService(store, identity, clock)
    agreement_pb2_grpc.add_AgreementServiceServicer_to_server(AgreementServicer(agreements), main)
    edition_pb2_grpc.add_EditionServiceServicer_to_server(EditionServicer(editions), main)
    membership_pb2_grpc.add_MembershipServiceServicer_to_server(MembershipServicer(enrolment, identity), main)
    presence_pb2_grpc.add_PresenceServiceServicer_to_server(PresenceServicer(PresenceService(store, clock)), main)
    site_pb2_grpc.add_SiteServiceServicer_to_server(SiteServicer(members, IssuedTokens(store, clock)), main)


def _server(
    admission: Admission, access: AccessInterceptor, options: tuple[tuple[str, int], ...], store: Store
) -> grpc.Server:
    server = grpc.server(
        cast("ThreadPoolExecutor", admission),
        interceptors=[access],
        options=(*SERVER_OPTIONS, *options),
    )
    health_pb2_grpc.add_HealthServicer_to_server(DatedHealth(store), server)
    return server


def _bind(server: grpc.Server, home: Home, host: str, port: int, *, key: str, root: bytes | None) -> None:
    """Open a TLS port; with a `root`, clients must present a certificate it issued. Raises `PortInUse`."""
    try:
        server.add_secure_port(f"{host}:{port}", _credentials(home, root))
    except RuntimeError as error:
        raise PortInUse(str(error), host=host, port=str(port), key=key) from error


def _credentials(home: Home, root: bytes | None) -> grpc.ServerCredentials:
    """Looked at again at each new connection, so that a renewed certificate is presented without a restart.

    gRPC gets another configuration only where the files are others: while it replaces one, connections that are being
    made at the same time can abort the process (`tsi_ssl_handshaker_factory_unref` without a lock, grpcio 1.85.1).
    """

    def read() -> tuple[bytes, bytes]:
        return home.server_key.read_bytes(), home.server_certificate.read_bytes()

    def configured(pair: tuple[bytes, bytes]) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=root)

    presented = [read()]

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        pair = read()
        if pair == presented[0]:
            return None
        presented[0] = pair
        return configured(pair)

    required = root is not None
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", renewed)  # the stubs miss `None`: unchanged
    return grpc.dynamic_ssl_server_credentials(configured(presented[0]), fetch, require_client_authentication=required)
