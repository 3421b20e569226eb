"""Half-sent calls, as raw frames over TLS: whoever sends them, all others and the operator get in."""

import time
from collections.abc import Iterator

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from coordinator.service import admission
from coordinator.service.slots import CALLS_EACH
from shared.errors.transport import CoordinatorBusy
from shared.proto.ricord.v1 import site_pb2
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.wire import Credentials, connected
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_bytes
from tests.factories.raw_calls import DATA, END_STREAM, call, dial, ends_with_reset, frame, half_sent, opening

ENROL = "/ricord.v1.EnrolmentService/Enrol"
UPLOAD = "/ricord.v1.SubmissionService/Upload"
LIST = "/ricord.v1.SiteService/ListSites"
OFFSET = "/ricord.v1.SubmissionService/GetUploadOffset"
MIB = 1 << 20


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("floods")) as running:
        running.curator()
        yield running


def is_healthy(federation: Federation) -> bool:
    """Whether the enrolment port answers somebody at 127.0.0.1 within five seconds."""
    with connected(federation.identity.addresses.enrolment, Credentials(federation.identity.root)) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def list_sites(federation: Federation) -> int:
    with federation.operator() as channel:
        return len(SiteServiceStub(channel).ListSites(site_pb2.ListSitesRequest(), timeout=5).sites)


def test_half_sent_calls_of_strangers_close_no_enrolment(federation: Federation) -> None:
    """200 from one address are refused above that address's limit, at once; 500 from many hold no thread."""
    stranger, address = Credentials(federation.identity.root), federation.identity.addresses.enrolment
    with half_sent(address, stranger, ENROL, connections=200, first=2) as lines:
        assert is_healthy(federation)
        assert sum(ends_with_reset(line, 0.05) for line in lines) == 200 - CALLS_EACH
    with half_sent(address, stranger, ENROL, connections=100, each=5, sources=50):
        assert is_healthy(federation)


def test_an_address_above_its_limit_is_told_when_to_try_again(federation: Federation) -> None:
    """It is busy, and no defect; when its calls have ended it gets in again."""
    stranger, address = Credentials(federation.identity.root), federation.identity.addresses.enrolment
    with half_sent(address, stranger, ENROL, connections=CALLS_EACH):
        busy = until_healthy_is(False, federation)
        assert busy is not None
        assert busy.seconds > 0
    until_healthy_is(True, federation)


def until_healthy_is(wanted: bool, federation: Federation) -> CoordinatorBusy | None:
    """Ask again, for ten seconds at most, until the port answers or is busy as `wanted`."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if is_healthy(federation) and wanted:
                return None
        except CoordinatorBusy as busy:
            if not wanted:
                return busy
        time.sleep(0.05)
    pytest.fail(f"the port did not become {'free' if wanted else 'busy'}")


@pytest.mark.parametrize("method", [ENROL, "/grpc.health.v1.Health/Check"])
def test_a_half_sent_call_is_ended(federation: Federation, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has so many seconds to come; then its caller's slot is free again."""
    monkeypatch.setattr(admission, "REQUEST_SECONDS", 0.2)
    stranger, address = Credentials(federation.identity.root), federation.identity.addresses.enrolment
    with half_sent(address, stranger, method, connections=CALLS_EACH) as lines:
        assert all(ends_with_reset(line, 5) for line in lines)
        assert is_healthy(federation)


def test_a_members_half_sent_calls_cost_itself_alone(federation: Federation) -> None:
    """Of every kind, while another site uploads 32 MiB and the operator lists: both go on."""
    _, idler = federation.site("Idling Hospital")
    home, member = federation.site("Working Hospital")
    address = member.addresses.main
    with (
        half_sent(address, idler.credentials, OFFSET, connections=90),
        half_sent(address, idler.credentials, UPLOAD, connections=90),
        half_sent(address, idler.credentials, LIST, connections=10, each=50),
    ):
        with submitting(home, member) as submit:
            assert submit(sealed_bytes(home, member, 32 * MIB)).receipt.exists()
        assert list_sites(federation) == 2
        with pytest.raises(CoordinatorBusy), connected(address, idler.credentials) as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


def test_a_request_in_pieces_is_answered(federation: Federation) -> None:
    """A slow caller is no half-sent one: headers first, the message later."""
    line = dial(federation.identity.addresses.enrolment, Credentials(federation.identity.root))
    with line:
        line.sendall(opening() + call("/grpc.health.v1.Health/Check", 1, message=None))
        time.sleep(0.3)
        line.sendall(frame(DATA, END_STREAM, 1, b"\x00\x00\x00\x00\x00"))
        line.settimeout(5)
        data = b""
        while b"grpc-status" not in data:
            data += line.recv(4096)
    assert b"\x08\x01" in data  # HealthCheckResponse: SERVING


def test_a_call_without_a_request_is_refused(federation: Federation) -> None:
    """Its caller ended it before a message came: the call ends, and nothing waits."""
    with dial(federation.identity.addresses.enrolment, Credentials(federation.identity.root)) as line:
        line.sendall(opening() + call(ENROL, 1, message=None) + frame(DATA, END_STREAM, 1, b""))
        assert ends_with_reset(line, 5)
