"""Renewing the certificate, and asking the coordinator for the agreement's state."""

from datetime import datetime

from shared.agreement import State
from shared.crypto import pki
from shared.crypto.keys import load_tls
from shared.durable import write_whole
from shared.errors import CertificateExpired, CertificateForeign, NotEnrolled, TokenUsed
from shared.frozen import Frozen
from shared.proto.ricord.v1.agreement_pb2 import AgreementState
from shared.proto.ricord.v1.membership_pb2 import GetMembershipRequest, RenewCertificateRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.wire import UNARY_SECONDS, connected, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.enrolment import enrolment_of
from site_node.membership.record import IdentityFiles, Membership, load_membership, renewal_is_due


class Standing(Frozen):
    """How the coordinator sees the site now."""

    state: State
    agreement_version: int
    protocol_digest: str


def renew_if_due(home: SiteHome, now: datetime) -> bool:
    """Renew the certificate when two thirds of its life are over; whether it was renewed.

    Raises what `connected` raises; an expired certificate cannot be renewed, that needs a new join token.
    """
    membership = load_membership(home)
    if not renewal_is_due(membership, now):
        return False
    renew(home, membership)
    return True


def renew(home: SiteHome, membership: Membership) -> None:
    """Replace the certificate by a new one for the same key."""
    csr = pki.make_csr(load_tls(home.tls_key))
    request = RenewCertificateRequest(csr=csr, enrolment=to_signed(enrolment_of(home, csr, token=None)))
    with connected(membership.addresses.main, membership.credentials) as channel:
        answer = MembershipServiceStub(channel).RenewCertificate(request, timeout=UNARY_SECONDS)
    peer = pki.check_certificate(answer.certificate, membership.root.read_bytes())
    if peer.name != membership.site_id:
        raise CertificateForeign(peer=peer.uri)
    write_whole(IdentityFiles(home).certificate, answer.certificate)


def enrolled_before(home: SiteHome) -> Membership:
    """The membership of a home whose join token is used; raises `TokenUsed` unless the coordinator knows the home."""
    try:
        membership = load_membership(home)
        standing(membership)
    except (NotEnrolled, CertificateExpired, CertificateForeign):
        raise TokenUsed from None
    return membership


def standing(membership: Membership) -> Standing:
    """Ask the coordinator; raises what `connected` raises."""
    with connected(membership.addresses.main, membership.credentials) as channel:
        answer = MembershipServiceStub(channel).GetMembership(GetMembershipRequest(), timeout=UNARY_SECONDS)
    name = AgreementState.Name(answer.agreement.state).removeprefix("AGREEMENT_STATE_")
    return Standing(
        state=State[name], agreement_version=answer.agreement.version, protocol_digest=answer.protocol_digest
    )
