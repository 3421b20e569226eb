"""Exchanging a join token for a certificate."""

import hashlib
from pathlib import Path

import grpc

from shared.crypto import pki
from shared.crypto.keys import load_signing, load_tls
from shared.crypto.pki import Role
from shared.durable import write_whole
from shared.enrolment import Enrolment
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.trust import CertificateForeign, SignatureInvalid
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json
from shared.member import check_clock
from shared.proto.ricord.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from shared.signed import Signed
from shared.token import Token, TokenKind, secret_digest
from shared.wire import UNARY_SECONDS, at_enrolment, from_signed, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.invitation import check_same_root
from site_node.membership.record import IdentityFiles, Membership, MembershipFile, SignedAgreement, membership_of


def enrol(home: SiteHome, token_text: str) -> Membership:
    """Enrol with a join token: certificate, countersigned agreement and SITEID are checked, then kept.

    Raises `TokenInvalid`, `TokenOfOtherKind`, `TokenUsed`, `TokenExpired`, `AgreementNotExecuted`, `SignatureInvalid`,
    `CertificateForeign`, `ClockWrong`, `CoordinatorUnreachable`. After a refusal `identity/` is as it was.
    """
    token = Token.parse(token_text, kind=TokenKind.JOIN)
    check_same_root(home, token)
    answer = _ask(home, token)
    root = token.root_pem.encode()
    peer = pki.check_certificate(answer.certificate, root)
    if (peer.role, peer.federation) != (Role.SITE, token.federation):
        raise CertificateForeign(peer=peer.uri)
    membership_file = MembershipFile(
        site_id=SiteId(peer.name),
        federation=peer.federation,
        addresses=token.addresses,
        coordinator_verify_key=answer.coordinator_verify_key,
    )
    agreement = _own_agreement(home, answer)
    membership = membership_of(home, membership_file, agreement, load_signing(home.signing_key).public)
    files = IdentityFiles(home)
    for path, data in (
        (files.root, root),
        (files.agreement, canonical_json(agreement)),
        (files.certificate, answer.certificate),
        (files.membership, canonical_json(membership_file)),
    ):
        write_whole(path, data)
    return membership


def enrolment_of(signing_key: Path, csr: bytes, *, token: Sha256 | None) -> Signed:
    """A certificate request bound to the site's signing key, and to a token unless it renews."""
    digest = Sha256(hashlib.sha256(csr).hexdigest())
    return Signed.by(load_signing(signing_key), Enrolment(csr_sha256=digest, token_sha256=token))


def _ask(home: SiteHome, token: Token) -> EnrolResponse:
    csr = pki.make_csr(load_tls(home.tls_key))
    request = EnrolRequest(
        token_secret=token.secret,
        csr=csr,
        enrolment=to_signed(enrolment_of(home.signing_key, csr, token=secret_digest(token.secret))),
        verify_key=load_signing(home.signing_key).public.text,
    )

    def ask(channel: grpc.Channel) -> EnrolResponse:
        check_clock(channel)  # by a wrong clock the certificate would be no good, and the token used up
        return EnrolmentServiceStub(channel).Enrol(request, timeout=UNARY_SECONDS)

    return at_enrolment(token, ask)


def _own_agreement(home: SiteHome, answer: EnrolResponse) -> SignedAgreement:
    """This home's own consent with the countersignature; the coordinator's copy of the consent must equal it."""
    file = IdentityFiles(home).consent
    if not file.exists():
        raise AgreementNotExecuted(state="not signed by this home", next="sign it here (`ricord-site agreement sign`)")
    consent = Signed.model_validate_json(file.read_bytes())
    if consent != from_signed(answer.agreement.consent):
        raise SignatureInvalid("the coordinator holds another consent", what="the agreement")
    return SignedAgreement(consent=consent, execution=from_signed(answer.agreement.execution))
