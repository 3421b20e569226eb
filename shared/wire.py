"""The only place where our values meet gRPC: errors both ways, signed documents, moments, and channels.

An error travels as the gRPC status of its class with a `google.rpc.ErrorInfo` (reason: the code, metadata: the
fields); its private text stays where it arose.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from shared.crypto.keys import load_tls, private_pem
from shared.crypto.passphrase import Passphrase
from shared.crypto.pki import check_certificate
from shared.errors.base import InternalError, RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.transport import BUSY_SECONDS, CoordinatorBusy, CoordinatorUnreachable, UploadInterrupted
from shared.errors.tree import error_for
from shared.errors.trust import CertificateForeign, ClockWrong
from shared.proto.ricord.v1.signed_pb2 import SignedDocument
from shared.signed import Signed
from shared.token import Token

Answer = TypeVar("Answer")

DOMAIN = "ricord.v1"
_REQUEST, _REQUEST_NAME = "request", re.compile(r"[0-9a-f]{16}")  # beside an error's fields: the call's name
_NOT_NOW = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})  # gRPC's own words
_LINE_CUT = ("RST_STREAM", "Stream removed")  # what it says of a connection that something between the two ended
_OUT_OF_TIME = ("certificate has expired", "certificate is not yet valid")  # the server's, which renews itself
_TOO_LARGE = "larger than max"  # a message that no later try makes smaller
_BUSY_TRIES = 12
UNACKNOWLEDGED = 8 << 20  # bytes of a study that a site sends beyond those of which it heard that they are durable
PERSON_METADATA = "ricord-person-bin"  # of a call: the person at a console, in UTF-8
UNARY_SECONDS = 60.0  # long enough for a slow line, short enough for a person

# Keepalive finds a peer that vanished silently; gzip on ciphertext and BDP probing off were measured slower.
_CLIENT_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.enable_retries", 0),
)
# Of a call that waits: a line that passes nothing is noticed after six seconds, and its end within five, since no try
# to connect takes longer than four.
PROMPT_OPTIONS = (
    ("grpc.keepalive_time_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 3_000),  # of a peer whose machine acknowledges nothing
    ("grpc.http2.ping_timeout_ms", 3_000),  # of any other: a minute, unless said
    ("grpc.http2.max_pings_without_data", 0),  # no limit
    ("grpc.min_reconnect_backoff_ms", 4_000),  # for TCP and TLS together
    ("grpc.enable_retries", 0),
)
SERVER_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 2_000),  # less than what `PROMPT_OPTIONS` say
    ("grpc.server_handshake_timeout_ms", 15_000),  # of TLS
    ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
)


@dataclass(frozen=True)
class Credentials:
    """What a client trusts and shows: the federation's root, and its own key and certificate where it has them."""

    root: bytes
    key: Path | None = None
    certificate: Path | None = None
    passphrase: Passphrase | None = None  # of the key

    def check(self, now: datetime | None = None) -> None:
        """Raise what `check_certificate` raises, before a server would refuse without a reason."""
        if self.certificate is not None:
            check_certificate(self.certificate.read_bytes(), self.root, now=now)

    def to_grpc(self) -> grpc.ChannelCredentials:
        """The channel credentials; the private key is read now and kept by gRPC only."""
        if self.key is None or self.certificate is None:
            return grpc.ssl_channel_credentials(root_certificates=self.root)
        key = private_pem(load_tls(self.key, self.passphrase))
        return grpc.ssl_channel_credentials(self.root, key, self.certificate.read_bytes())


@contextmanager
def connected(address: str, credentials: Credentials, *, prompt: bool = False) -> Iterator[grpc.Channel]:
    """A channel to `address`; errors of calls made inside come out as `RicordError`s.

    A `prompt` one notices within seconds that the line passes nothing, for calls that wait long and send little.
    Raises `CertificateForeign`, `CertificateExpired`, `ClockWrong`, `CoordinatorUnreachable`, or what the other side
    raised.
    """
    credentials.check()
    with grpc.secure_channel(address, credentials.to_grpc(), options=_options(address, prompt=prompt)) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise from_rpc(error, address) from error


def at_enrolment(token: Token, ask: Callable[[grpc.Channel], Answer]) -> Answer:
    """What `ask` is answered by the enrolment port of `token`; it is asked again while the coordinator is busy.

    Pauses differ by chance, so that those refused together do not come back together. Raises what `connected` raises,
    `CoordinatorBusy` after about two minutes.
    """
    for pause in (True,) * _BUSY_TRIES + (False,):
        try:
            with connected(token.addresses.enrolment, Credentials(token.root_pem.encode())) as channel:
                return ask(channel)
        except CoordinatorBusy as busy:
            if not pause:
                raise
            time.sleep(busy.seconds * SystemRandom().uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


def _options(address: str, *, prompt: bool) -> tuple[tuple[str, int], ...]:
    """A hospital may go out through an HTTP proxy, which gRPC finds in the environment; loopback bypasses it."""
    loopback = address.startswith(("127.", "localhost:", "[::1]"))
    options = PROMPT_OPTIONS if prompt else _CLIENT_OPTIONS
    return (*options, ("grpc.enable_http_proxy", 0)) if loopback else options


def from_rpc(error: object, address: str) -> RicordError:
    """The error of a failed call: the one the other side named, or what happened in transport."""
    if not isinstance(error, grpc.Call):
        return InternalError(type(error).__name__)
    return _named(error) or _of_transport(error.code(), error.details() or "", address)


def _of_transport(code: grpc.StatusCode, details: str, address: str) -> RicordError:
    """What gRPC itself says of a call that the other side did not name an error for."""
    if "CERTIFICATE_VERIFY_FAILED" in details:
        if not any(words in details for words in _OUT_OF_TIME):
            return CertificateForeign(details, peer=address)
        evidence = f"by it the certificate of {address} is over or has not begun"
        return ClockWrong(details, says=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", evidence=evidence)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE not in details:  # every thread of the server is busy
        return CoordinatorBusy(details, seconds=str(BUSY_SECONDS))
    if code in _NOT_NOW or any(words in details for words in _LINE_CUT):
        return CoordinatorUnreachable(details, address=address)
    if code is grpc.StatusCode.CANCELLED:
        return UploadInterrupted(details)
    return InternalError(f"{code.name}: {details}")


def _named(error: grpc.Call) -> RicordError | None:
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            fields = dict(info.metadata)
            request = fields.pop(_REQUEST, "")
            named = error_for(info.reason, fields)
            named.request = request if _REQUEST_NAME.fullmatch(request) else ""
            return named
    return None


def refuse(context: grpc.ServicerContext, error: RicordError, *, request: str = "") -> NoReturn:
    """End a call, the `request`, with `error`: its public sentence, code and fields, never its private text."""
    code = grpc.StatusCode[error.text.status]
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=error.code, domain=DOMAIN, metadata={**error.fields, _REQUEST: request}))
    status = Status(code=code.value[0], message=error.public, details=[detail])
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status raises")


def to_signed(signed: Signed) -> SignedDocument:
    """A signed document as a message."""
    return SignedDocument(document=signed.document.encode(), signature=signed.signature)


def from_signed(message: SignedDocument) -> Signed:
    """A signed document from its message, not yet verified. Text that is not UTF-8 never verifies."""
    return Signed(document=message.document.decode(errors="replace"), signature=message.signature)


def to_timestamp(moment: datetime) -> Timestamp:
    """A moment as a message."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime:
    """A moment from its message, in UTC; raises `InvalidArgument` for one that no calendar has."""
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(name="A moment", problem="it lies outside the years 1 to 9999") from error
