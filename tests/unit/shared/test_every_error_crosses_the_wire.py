"""Every error crosses a real gRPC connection and arrives as itself, without its private text."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from string import Formatter
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from coordinator.trust.interceptor import AccessInterceptor, no_check
from shared.crypto.pki import make_ca
from shared.crypto.signing import SigningKey
from shared.errors.base import InternalError, RicordError, code_of
from shared.errors.inputs import InvalidArgument
from shared.errors.transport import CoordinatorBusy, CoordinatorUnreachable, UploadInterrupted
from shared.errors.tree import all_errors
from shared.errors.trust import CertificateForeign, ClockWrong, SignatureInvalid
from shared.frozen import Frozen
from shared.proto.ricord.v1.signed_pb2 import SignedDocument
from shared.signed import Signed
from shared.token import Addresses, Token, TokenKind
from shared.wire import (
    SERVER_OPTIONS,
    Credentials,
    _of_transport,
    _options,
    at_enrolment,
    connected,
    from_rpc,
    from_signed,
    from_timestamp,
    to_signed,
    to_timestamp,
)
from tests.factories.ports import free_port

TOKEN = Token(
    kind=TokenKind.JOIN,
    addresses=Addresses(enrolment="here:1", main="here:2"),
    federation="sample",
    root_pem="PEM",
    secret="s" * 32,
)
SECRET = "a private text with a path /srv/x"


class Raiser(grpc.GenericRpcHandler):
    """Answers every method by raising what the test put here."""

    error: Exception = RuntimeError()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """A unary or a streaming handler, by the method's name."""

        def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
            raise self.error

        def stream(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield b"first"
            raise self.error

        if handler_call_details.method == "/test/Stream":
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


@pytest.fixture(scope="module")
def raiser() -> Iterator[tuple[Raiser, grpc.Channel]]:
    handler = Raiser()
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[AccessInterceptor(no_check)])
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield handler, channel
    server.stop(None).wait()


def call(channel: Any, method: str) -> None:
    """One call whose messages are plain bytes."""
    if method == "/test/Stream":
        list(channel.unary_stream(method)(b""))
    else:
        channel.unary_unary(method)(b"")


def failure_of(channel: grpc.Channel, method: str) -> Any:
    """The failure of one call, which is a `grpc.Call` too."""
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, method)
    return caught.value


@pytest.mark.parametrize("method", ["/test/Unary", "/test/Stream"])
@pytest.mark.parametrize("kind", all_errors(), ids=code_of)
def test_every_error_arrives_as_itself(
    raiser: tuple[Raiser, grpc.Channel], kind: type[RicordError], method: str
) -> None:
    """Class, fields and sentence survive; the private text does not leave; the status is the table's."""
    handler, channel = raiser
    names = [name for _, name, _, _ in Formatter().parse(kind.text.sentence) if name]
    handler.error = kind(SECRET, **{name: f"<{name} ü>" for name in names})
    failure = failure_of(channel, method)
    assert failure.code().name == kind.text.status
    assert SECRET not in f"{failure.details()}{failure.trailing_metadata()}{failure}"
    arrived = from_rpc(failure, "here:1")
    assert type(arrived) is kind
    assert arrived.public == handler.error.public


@pytest.mark.parametrize("method", ["/test/Unary", "/test/Stream"])
def test_a_defect_shows_nothing_of_itself(raiser: tuple[Raiser, grpc.Channel], method: str) -> None:
    """An exception that is not a `RicordError` arrives as a defect, without its text."""
    handler, channel = raiser
    handler.error = ValueError(SECRET)
    failure = failure_of(channel, method)
    assert SECRET not in str(failure)
    assert isinstance(from_rpc(failure, "here:1"), InternalError)


def test_a_server_without_a_free_thread_is_tried_again_later() -> None:
    """Then the call is refused by gRPC, with a status and no error of ours; it is named, with a time to retry."""
    arrived, answer = threading.Event(), threading.Event()

    class Slow(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
            def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
                arrived.set()
                answer.wait(10)
                return request

            return grpc.unary_unary_rpc_method_handler(unary)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Slow()], maximum_concurrent_rpcs=1)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        unary: Any = channel.unary_unary("/test/Unary")
        first = unary.future(b"")
        assert arrived.wait(10)
        failure = failure_of(channel, "/test/Unary")
        answer.set()
        first.result()
    server.stop(None).wait()
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    busy = from_rpc(failure, "here:1")
    assert isinstance(busy, CoordinatorBusy)
    assert str(busy.seconds) in busy.public


def test_a_message_that_is_too_large_is_not_tried_again_for_ever(raiser: tuple[Raiser, grpc.Channel]) -> None:
    """It has the status of a busy server, and no later try makes it smaller."""
    _, channel = raiser
    unary: Any = channel.unary_unary("/test/Unary")
    with pytest.raises(grpc.RpcError) as caught:
        unary(bytes(5 << 20))
    failure: Any = caught.value
    assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert isinstance(from_rpc(caught.value, "here:1"), InternalError)


@pytest.mark.parametrize("named", ["", "-1", "nan", "soon", "1" * 400, "3600", "5", "0"])
def test_a_coordinator_cannot_make_a_site_wait_for_ever(named: str) -> None:
    """Whatever time to retry it names, the wait is between nothing and a minute."""
    assert 0 <= CoordinatorBusy(seconds=named).seconds <= 60
    assert CoordinatorBusy(seconds="5").seconds == 5


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2"),
        (grpc.StatusCode.UNKNOWN, "Stream removed"),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    ],
)
def test_a_line_that_is_cut_is_no_defect(code: grpc.StatusCode, details: str) -> None:
    """A box between the two may end a call in several ways; each is tried again."""
    assert isinstance(_of_transport(code, details, "here:1"), CoordinatorUnreachable)


def test_what_no_call_raised_is_a_defect() -> None:
    """An exception of gRPC that carries no status becomes an internal error."""
    assert isinstance(from_rpc(RuntimeError("not from grpc"), "here:1"), InternalError)


@given(st.text(), st.text())
def test_signed_documents_cross_unchanged(document: str, signature: str) -> None:
    """The bytes that were signed are the bytes that arrive."""
    encodable = document.encode(errors="ignore").decode()
    clean = signature.encode(errors="ignore").decode()
    signed = Signed(document=encodable, signature=clean)
    assert from_signed(to_signed(signed)) == signed


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_moments_cross_unchanged(moment: datetime) -> None:
    """A moment arrives equal to the microsecond, in UTC."""
    assert from_timestamp(to_timestamp(moment)) == moment


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED: unable to get local issuer", CertificateForeign),
        (grpc.StatusCode.UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED: certificate has expired", ClockWrong),
        (grpc.StatusCode.UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", ClockWrong),
        (grpc.StatusCode.CANCELLED, "by the server", UploadInterrupted),
        (grpc.StatusCode.UNKNOWN, "by the server", InternalError),
    ],
)
def test_what_the_transport_says_is_named(code: grpc.StatusCode, details: str, kind: type[RicordError]) -> None:
    """A server renews its own certificate, so that one that is out of time means this machine's clock."""
    assert type(_of_transport(code, details, "here:1")) is kind


@pytest.mark.parametrize("busy", range(15))
def test_a_busy_coordinator_is_asked_thirteen_times(monkeypatch: pytest.MonkeyPatch, busy: int) -> None:
    """With pauses between half and one and a half of what it named; another error ends it at once."""
    asked, pauses = list[str](), list[float]()

    @contextmanager
    def connected(address: str, *_: object, **__: object) -> Iterator[str]:
        asked.append(address)
        yield address

    def ask(_channel: object) -> str:
        if len(asked) <= busy:
            raise CoordinatorBusy(seconds="4")
        return "answer"

    def fail(_channel: object) -> str:
        raise CoordinatorUnreachable(address="here:1")

    monkeypatch.setattr("shared.wire.connected", connected)
    monkeypatch.setattr("shared.wire.time.sleep", pauses.append)
    if busy > 12:
        with pytest.raises(CoordinatorBusy):
            at_enrolment(TOKEN, ask)
    else:
        assert at_enrolment(TOKEN, ask) == "answer"
    assert asked == ["here:1"] * min(busy + 1, 13)
    assert len(pauses) == min(busy, 12)
    assert all(2 <= pause <= 6 for pause in pauses)
    asked.clear()
    with pytest.raises(CoordinatorUnreachable):
        at_enrolment(TOKEN, fail)
    assert len(asked) == 1


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [
        ("127.0.0.1:1", True),
        ("localhost:1", True),
        ("[::1]:1", True),
        ("example.org:1", False),
        ("10.127.0.1:1", False),
    ],
)
def test_a_proxy_is_for_what_is_not_on_this_machine(address: str, is_loopback: bool, prompt: bool) -> None:
    """A call that waits notices within seconds that the line passes nothing; gRPC tries nothing again by itself."""
    options = dict(_options(address, prompt=prompt))
    assert (options.get("grpc.enable_http_proxy") == 0) == is_loopback
    assert (options["grpc.keepalive_time_ms"] + options["grpc.keepalive_timeout_ms"] <= 6000) == prompt
    assert options["grpc.enable_retries"] == 0


@pytest.mark.parametrize("seconds", [-(2**62), 2**62])
def test_a_moment_that_no_calendar_has_is_refused(seconds: int) -> None:
    with pytest.raises(InvalidArgument):
        from_timestamp(Timestamp(seconds=seconds))


def test_a_text_that_is_no_utf_8_never_verifies() -> None:
    """It arrives as another text, and stops nothing."""
    key = SigningKey.generate()
    message = SignedDocument(document=b"{\xff}", signature=key.sign(b"{\xff}"))
    with pytest.raises(SignatureInvalid):
        from_signed(message).verified(key.public, Frozen, what="it")


def test_a_call_to_nobody_is_unreachable() -> None:
    """An error of a call in the block comes out as ours."""
    address = f"127.0.0.1:{free_port()}"
    root = make_ca("sample").root_pem
    with pytest.raises(CoordinatorUnreachable) as raised, connected(address, Credentials(root)) as channel:
        call(channel, "/test/Unary")
    assert raised.value.fields["address"] == address


def test_a_port_has_one_server() -> None:
    """A second one fails, and does not share the calls of the first."""
    with futures_server() as (first, port), futures_server() as (second, _):
        del first
        with pytest.raises(RuntimeError):
            second.add_insecure_port(f"127.0.0.1:{port}")


@contextmanager
def futures_server() -> Iterator[tuple[grpc.Server, int]]:
    server = grpc.server(ThreadPoolExecutor(1), options=SERVER_OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield server, port
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize(("end", "pause"), [("least", 2), ("most", 6)])
def test_pauses_are_drawn_between_half_and_one_and_a_half(
    monkeypatch: pytest.MonkeyPatch, end: str, pause: float
) -> None:
    """Of what a busy coordinator named, so that those refused together do not come back together."""
    pauses, asked = list[float](), list[None]()
    draw = {"least": lambda _, low, high: low, "most": lambda _, low, high: high}[end]
    monkeypatch.setattr("shared.wire.SystemRandom.uniform", draw)
    monkeypatch.setattr("shared.wire.time.sleep", pauses.append)
    monkeypatch.setattr("shared.wire.connected", lambda *_: nullcontext())

    def ask(_channel: object) -> str:
        asked.append(None)
        if len(asked) < 2:
            raise CoordinatorBusy(seconds="4")
        return "answer"

    assert at_enrolment(TOKEN, ask) == "answer"
    assert pauses == [pause]
