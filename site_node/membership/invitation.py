"""Reading, with an invitation token, the agreement that a site is asked to sign."""

import hashlib

from pydantic import ValidationError

from shared.agreement import AgreementTerms
from shared.durable import write_whole
from shared.errors.agreements import AgreementTextChanged
from shared.errors.trust import CertificateForeign
from shared.frozen import Frozen
from shared.manifest import canonical_json
from shared.proto.ricord.v1.enrolment_pb2 import ReadAgreementRequest
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from shared.token import Token, TokenKind
from shared.wire import UNARY_SECONDS, at_enrolment
from site_node.home.folder import SiteHome
from site_node.membership.record import IdentityFiles


class ReadAgreement(Frozen):
    """An agreement as it is offered."""

    terms: AgreementTerms
    text: str


def read_agreement(home: SiteHome, token_text: str) -> ReadAgreement:
    """Fetch terms and text and keep them as the draft that may be signed.

    Raises `TokenInvalid`, `TokenUsed`, `TokenExpired`, `AgreementNotExecuted` while there is no draft,
    `AgreementTextChanged` when the terms name another digest than the text's, `CoordinatorUnreachable`, and for a
    member `CertificateForeign` when another federation invites; `SignatureInvalid` for an unsigned recipient.
    """
    token = Token.parse(token_text, kind=TokenKind.INVITATION)
    files = IdentityFiles(home)
    if files.membership.exists():
        check_same_root(home, token)  # a member cannot change federation by an invitation
    offered = fetch(token)
    home.identity.mkdir(mode=0o700, exist_ok=True)
    write_whole(files.root, token.root_pem.encode())
    keep_draft(home, offered)
    return offered


def fetch(token: Token) -> ReadAgreement:
    """What the coordinator offers to the bearer of `token` now.

    Raises `SignatureInvalid` unless the named curator itself signed that the recipient is its own.
    """
    request = ReadAgreementRequest(token_secret=token.secret)
    answer = at_enrolment(
        token, lambda channel: EnrolmentServiceStub(channel).ReadAgreement(request, timeout=UNARY_SECONDS)
    )
    return checked_offer(answer.terms, answer.text)


def checked_offer(document: bytes, text: str) -> ReadAgreement:
    """Terms and text that belong together.

    Raises `AgreementTextChanged` where they do not, `SignatureInvalid` unless the named curator itself signed that the
    recipient is its own.
    """
    try:
        terms = AgreementTerms.model_validate_json(document)
    except ValidationError as error:
        raise AgreementTextChanged("the terms do not parse") from error
    if hashlib.sha256(text.encode()).hexdigest() != terms.text_sha256:
        raise AgreementTextChanged("the text has another digest than the terms name")
    terms.curator.check()
    return ReadAgreement(terms=terms, text=text)


def keep_draft(home: SiteHome, offered: ReadAgreement) -> None:
    """Keep what was offered, so that nothing else is signed."""
    files = IdentityFiles(home)
    write_whole(files.text, offered.text.encode())
    write_whole(files.draft, canonical_json(offered.terms))


def check_same_root(home: SiteHome, token: Token) -> None:
    """Raise `CertificateForeign` when a token comes from another federation than the one already trusted here."""
    root = IdentityFiles(home).root
    if root.exists() and root.read_bytes() != token.root_pem.encode():
        raise CertificateForeign("the token carries another root", peer=token.addresses.enrolment)
