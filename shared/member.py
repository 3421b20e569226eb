"""A member's way to the coordinator: its certificate is renewed in time, and a wrong clock is told from its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from shared.crypto import pki
from shared.crypto.keys import load_tls
from shared.crypto.passphrase import Passphrase
from shared.durable import write_whole
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import CertificateExpired, CertificateForeign, ClockWrong
from shared.logs import about
from shared.proto.ricord.v1.membership_pb2 import RenewCertificateRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.signed import Signed
from shared.token import Addresses
from shared.wire import UNARY_SECONDS, Credentials, connected, to_signed

DATE = "ricord-date"  # trailing metadata of a health check: the coordinator's time, in ISO form
_CLOCK_SECONDS = 10.0  # for the coordinator's time, which is asked after something else went wrong

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Member:
    """A site or a curator, as it connects."""

    addresses: Addresses
    root: Path
    key: Path
    certificate: Path
    uri: str  # its SPIFFE name
    sign: Callable[[bytes], Signed]  # binds a certificate request to the member's signing key, for a renewal
    passphrase: Passphrase | None = None  # of the key

    @property
    def credentials(self) -> Credentials:
        """For channels to the main port."""
        return Credentials(self.root.read_bytes(), self.key, self.certificate, self.passphrase)


@contextmanager
def member_channel(member: Member, *, prompt: bool = False) -> Iterator[grpc.Channel]:
    """A channel to the main port, `prompt` as in `connected`; a certificate that is due is renewed first.

    A renewal that fails is left to the next connection, since a third of the certificate's life remains. Raises what
    `connected` raises, and `ClockWrong` where this machine's clock is the cause.
    """
    with clock_blamed(member, prompt=prompt):
        try:
            renew_if_due(member, datetime.now(UTC))
        except RicordError as error:
            _log.warning("renewal.failed", **about(error))
        with connected(member.addresses.main, member.credentials, prompt=prompt) as channel:
            yield channel


def renew_if_due(member: Member, now: datetime) -> bool:
    """Renew the certificate when two thirds of its life are over; whether it was renewed.

    Raises what `connected` raises; an expired certificate cannot be renewed: that needs a new join token.
    """
    if now < pki.renew_at(member.certificate.read_bytes()):
        return False
    csr = pki.make_csr(load_tls(member.key, member.passphrase))
    request = RenewCertificateRequest(csr=csr, enrolment=to_signed(member.sign(csr)))
    with connected(member.addresses.main, member.credentials) as channel:
        answer = MembershipServiceStub(channel).RenewCertificate(request, timeout=UNARY_SECONDS)
    peer = pki.check_certificate(answer.certificate, member.root.read_bytes())
    if peer.uri != member.uri:
        raise CertificateForeign(peer=peer.uri)
    write_whole(member.certificate, answer.certificate)
    return True


@contextmanager
def clock_blamed(member: Member, *, prompt: bool = False) -> Iterator[None]:
    """Raise `ClockWrong` or `CertificateExpired` for an error of the block that has it as its cause.

    A server ends the handshake without a reason when a certificate is over by its own clock, and a client takes a good
    certificate for expired when its clock is fast; so the coordinator is asked for its time, by which both are judged.
    """
    try:
        yield
    except (CertificateExpired, CoordinatorUnreachable) as error:
        try:
            root = Credentials(member.root.read_bytes())
            with connected(member.addresses.enrolment, root, prompt=prompt) as channel:
                now = check_clock(channel)
            member.credentials.check(now)
        except (ClockWrong, CertificateExpired) as cause:
            raise cause from error
        except RicordError:
            pass  # the coordinator does not say
        raise


def check_clock(channel: grpc.Channel) -> datetime | None:
    """The coordinator's time by one of its ports, or `None` where it states none.

    Raises `ClockWrong` when this machine's clock differs by more than what certificates allow for.
    """
    _, call = HealthStub(channel).Check.with_call(HealthCheckRequest(), timeout=_CLOCK_SECONDS)
    dates = [value for name, value in call.trailing_metadata() if name == DATE]
    if not dates:
        return None
    try:
        theirs = datetime.fromisoformat(str(dates[0])).astimezone(UTC)
    except ValueError as error:
        raise InvalidArgument(name="The coordinator's date", problem="it cannot be read") from error
    here = datetime.now(UTC)
    if abs(theirs - here) > pki.SKEW:
        evidence = f"the coordinator's says {theirs:%Y-%m-%d %H:%M} UTC"
        raise ClockWrong(says=f"{here:%Y-%m-%d %H:%M} UTC", evidence=evidence)
    return theirs
