"""The site on the coordinator's main port, with a certificate that is renewed in time; and the agreement's state."""

from shared.agreement import State
from shared.crypto.pki import Peer, Role
from shared.errors.agreements import AgreementTerminated
from shared.errors.trust import CertificateExpired, CertificateForeign, NotEnrolled, TokenUsed
from shared.frozen import Frozen
from shared.member import Member, member_channel
from shared.proto.ricord.v1.agreement_pb2 import AgreementState
from shared.proto.ricord.v1.membership_pb2 import GetMembershipRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.wire import UNARY_SECONDS
from site_node.home.folder import SiteHome
from site_node.membership.enrolment import enrolment_of
from site_node.membership.record import Membership, load_membership


class Standing(Frozen):
    """How the coordinator sees the site now."""

    state: State
    agreement_version: int
    protocol_digest: str
    amendment: State | None = None  # drafted or signed, where a next version is offered


def member_of(membership: Membership) -> Member:
    """The site as it connects."""
    return Member(
        addresses=membership.addresses,
        root=membership.root,
        key=membership.key,
        certificate=membership.certificate,
        uri=Peer(federation=membership.federation, role=Role.SITE, name=membership.site_id).uri,
        sign=lambda csr: enrolment_of(membership.signing_key, csr, token=None),
    )


def enrolled_before(home: SiteHome) -> Membership:
    """The membership of a home whose join token is used; raises `TokenUsed` unless the coordinator knows the home."""
    try:
        membership = load_membership(home)
        standing(membership)
    except (NotEnrolled, CertificateExpired, CertificateForeign, AgreementTerminated):
        raise TokenUsed from None
    return membership


def standing(membership: Membership) -> Standing:
    """Ask the coordinator; raises what `member_channel` raises."""
    with member_channel(member_of(membership)) as channel:
        answer = MembershipServiceStub(channel).GetMembership(GetMembershipRequest(), timeout=UNARY_SECONDS)
    agreement, amendment = answer.agreement, None
    if agreement.amendment_terms:
        amendment = State.SIGNED if agreement.HasField("amendment_consent") else State.DRAFTED
    return Standing(
        state=State[AgreementState.Name(agreement.state).removeprefix("AGREEMENT_STATE_")],
        agreement_version=agreement.version,
        protocol_digest=answer.protocol_digest,
        amendment=amendment,
    )
