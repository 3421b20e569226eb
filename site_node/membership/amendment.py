"""The next version of the agreement, which an enrolled site reads, signs and fetches with its certificate."""

from shared.agreement import AgreementTerms
from shared.crypto.keys import load_signing
from shared.durable import write_whole
from shared.errors.agreements import AgreementTextChanged
from shared.errors.trust import SignatureInvalid
from shared.manifest import canonical_json
from shared.member import member_channel
from shared.proto.ricord.v1.membership_pb2 import GetMembershipRequest, ReadAmendmentRequest, SignAmendmentRequest
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.signed import Signed
from shared.wire import UNARY_SECONDS, from_signed, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.agreement import signed_consent
from site_node.membership.invitation import ReadAgreement, checked_offer, keep_draft
from site_node.membership.record import (
    IdentityFiles,
    Membership,
    MembershipFile,
    SignedAgreement,
    load_membership,
    membership_of,
)
from site_node.membership.renewal import member_of


def read_amendment(home: SiteHome) -> ReadAgreement:
    """Fetch the terms and text of the next version and keep them as the draft that may be signed.

    Raises `NotEnrolled`, `AgreementNotExecuted` while none is offered, `AgreementTextChanged`, also for terms of
    another agreement or an earlier version, `SignatureInvalid`, and what `member_channel` raises.
    """
    offered = _offered(load_membership(home))
    keep_draft(home, offered)
    return offered


def sign_amendment(home: SiteHome, *, signatory: str) -> AgreementTerms:
    """Sign the version that `read_amendment` showed; it takes effect when the coordinator has countersigned it.

    Raises what `read_amendment` raises, and `AgreementTextChanged` when the coordinator now offers other terms.
    """
    membership = load_membership(home)
    terms = _offered(membership).terms
    request = SignAmendmentRequest(consent=to_signed(signed_consent(home, terms, signatory)))
    with member_channel(member_of(membership)) as channel:
        MembershipServiceStub(channel).SignAmendment(request, timeout=UNARY_SECONDS)
    return terms


def fetch_countersigned(home: SiteHome) -> Membership | None:
    """Keep the next version once both sides have signed it, and return the membership under it; else `None`.

    Raises `SignatureInvalid` where the coordinator names a later version than this home has signed, and what
    connecting raises.
    """
    membership, files = load_membership(home), IdentityFiles(home)
    with member_channel(member_of(membership)) as channel:
        answer = MembershipServiceStub(channel).GetMembership(GetMembershipRequest(), timeout=UNARY_SECONDS).agreement
    if answer.version <= membership.agreement_version or not answer.HasField("execution"):
        return None
    consent = Signed.model_validate_json(files.consent.read_bytes())
    if consent != from_signed(answer.consent):
        raise SignatureInvalid("the coordinator holds another consent", what="the agreement")
    agreement = SignedAgreement(consent=consent, execution=from_signed(answer.execution))
    membership_file = MembershipFile.model_validate_json(files.membership.read_bytes())
    renewed = membership_of(home, membership_file, agreement, load_signing(home.signing_key).public)
    write_whole(files.replaced(membership.agreement_version), files.agreement.read_bytes())
    write_whole(files.agreement, canonical_json(agreement))
    return renewed


def _offered(membership: Membership) -> ReadAgreement:
    with member_channel(member_of(membership)) as channel:
        answer = MembershipServiceStub(channel).ReadAmendment(ReadAmendmentRequest(), timeout=UNARY_SECONDS)
    offered = checked_offer(answer.terms, answer.text)
    terms, present = offered.terms, membership.terms
    same = ("id", "federation", "coordinator_fingerprint")
    if terms.version <= present.version or any(getattr(terms, name) != getattr(present, name) for name in same):
        raise AgreementTextChanged("not a next version of this agreement")
    return offered
