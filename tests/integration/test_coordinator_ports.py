"""The two gRPC ports against strangers and idlers, through real sockets on loopback."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from coordinator.submission import streams
from shared.crypto import pki
from shared.crypto.keys import make_tls, private_pem
from shared.errors.transport import UploadInterrupted
from shared.errors.trust import CertificateForeign
from shared.proto.ricord.v1 import site_pb2, submission_pb2
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import of_manifest
from shared.wire import Credentials, connected, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_study


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("ports")) as running:
        running.curator()
        yield running


@pytest.mark.parametrize("presented", ["nothing", "a foreign certificate", "an expired certificate"])
def test_the_main_port_speaks_to_members_only(federation: Federation, presented: str, tmp_path: Path) -> None:
    """TLS itself refuses a client that presents no valid certificate."""
    key = make_tls(tmp_path / "tls.pem")
    csr, uri = pki.make_csr(key), "spiffe://test-federation/coordinator/operator"
    chains = {
        "nothing": None,
        "a foreign certificate": pki.issue(pki.make_ca("test-federation"), csr, uri),
        "an expired certificate": pki.issue(federation.identity.authority, csr, uri, days=0),
    }
    private = private_pem(key) if chains[presented] else None  # gRPC aborts the process for a key without certificate
    credentials = grpc.ssl_channel_credentials(federation.identity.root, private, chains[presented])
    with grpc.secure_channel(federation.identity.addresses.main, credentials) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            SiteServiceStub(channel).ListSites(site_pb2.ListSitesRequest(), timeout=10)
        assert "UNAVAILABLE" in str(caught.value)


def test_a_certificate_that_the_store_does_not_know_is_refused(federation: Federation, tmp_path: Path) -> None:
    """A certificate from the right root is not enough: a stolen root key would otherwise admit anybody unnoticed."""
    key = make_tls(tmp_path / "tls.pem")
    uri = "spiffe://test-federation/coordinator/operator"
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(pki.issue(federation.identity.authority, pki.make_csr(key), uri))
    credentials = Credentials(federation.identity.root, tmp_path / "tls.pem", certificate)
    with pytest.raises(CertificateForeign), connected(federation.identity.addresses.main, credentials) as channel:
        SiteServiceStub(channel).ListSites(site_pb2.ListSitesRequest())


def test_both_ports_report_their_health(federation: Federation) -> None:
    """grpc.health.v1: on the enrolment port to anyone, on the main port to members."""
    question = health_pb2.HealthCheckRequest()
    with connected(federation.identity.addresses.enrolment, Credentials(federation.identity.root)) as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(question).status == health_pb2.HealthCheckResponse.SERVING
    with federation.operator() as channel:
        assert health_pb2_grpc.HealthStub(channel).Check(question).status == health_pb2.HealthCheckResponse.SERVING


def test_nobody_can_occupy_the_enrolment_port(federation: Federation) -> None:
    """A watch would hold a thread without a token; it is not served, and the port goes on answering."""
    question = health_pb2.HealthCheckRequest()
    credentials = Credentials(federation.identity.root).to_grpc()
    with grpc.secure_channel(federation.identity.addresses.enrolment, credentials) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for watch in [health.Watch(question, timeout=10) for _ in range(20)]:
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            # A line that is full still, in the eyes of the server, refuses a stream.
            assert caught.value.code() in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE}
        assert health.Check(question, timeout=10).status == health_pb2.HealthCheckResponse.SERVING


def test_an_idle_upload_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread and its file are released; the site's next attempt succeeds."""
    monkeypatch.setattr(streams, "IDLE_SECONDS", 0.3)
    with running_federation(tmp_path) as federation:
        federation.curator()
        _upload_and_wait(*federation.site("Idle Hospital"))


def _upload_and_wait(home: SiteHome, member: Membership) -> None:
    sealed, upload_ended = sealed_study(home, member), threading.Event()
    header = submission_pb2.UploadHeader(manifest=to_signed(of_manifest(sealed.manifest)), offset=0)

    def parts() -> Iterator[submission_pb2.UploadRequest]:
        yield submission_pb2.UploadRequest(header=header)
        upload_ended.wait(30)

    with pytest.raises(UploadInterrupted), connected(member.addresses.main, member.credentials) as channel:
        list(SubmissionServiceStub(channel).Upload(parts(), timeout=20))
    upload_ended.set()
    with submitting(home, member) as submit:
        assert submit(sealed).receipt.exists()
