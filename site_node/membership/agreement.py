"""Signing the agreement that was read."""

from contextlib import closing
from datetime import UTC, datetime

from pydantic import ValidationError

from shared.agreement import AgreementTerms, Consent
from shared.crypto.keys import load_signing
from shared.durable import write_whole
from shared.errors.agreements import AgreementTextChanged
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import TokenUsed
from shared.manifest import canonical_json
from shared.proto.ricord.v1.enrolment_pb2 import SignAgreementRequest
from shared.proto.ricord.v1.enrolment_pb2_grpc import EnrolmentServiceStub
from shared.signed import Signed
from shared.token import Token, TokenKind
from shared.wire import UNARY_SECONDS, at_enrolment, to_signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.words import NO_STUDY
from site_node.membership.invitation import check_same_root, fetch
from site_node.membership.record import IdentityFiles


def sign_agreement(home: SiteHome, token_text: str, *, signatory: str) -> AgreementTerms:
    """Sign, with the site's key, the terms that `read_agreement` showed; uses the invitation token up.

    Raises what `read_agreement` raises, and `AgreementTextChanged` when nothing was read yet or the coordinator now
    offers other terms; nothing is signed then. The consent is kept before it is sent.
    """
    token = Token.parse(token_text, kind=TokenKind.INVITATION)
    check_same_root(home, token)
    terms, key = fetch(token).terms, load_signing(home.signing_key)
    signed = signed_consent(home, terms, signatory)
    request = SignAgreementRequest(token_secret=token.secret, consent=to_signed(signed), verify_key=key.public.text)
    at_enrolment(token, lambda channel: EnrolmentServiceStub(channel).SignAgreement(request, timeout=UNARY_SECONDS))
    return terms


def note_signed(home: SiteHome, terms: AgreementTerms, signatory: str) -> None:
    """Keep in the home's audit who signed what."""
    with closing(Ledger(home.ledger)) as ledger:
        ledger.audit(signatory, "agreement-sign", NO_STUDY, f"{terms.id}, version {terms.version}")


def signed_consent(home: SiteHome, terms: AgreementTerms, signatory: str) -> Signed:
    """The consent to `terms`, kept in the home; raises `AgreementTextChanged` unless these were read."""
    files, key = IdentityFiles(home), load_signing(home.signing_key)
    if not files.draft.exists() or files.draft.read_bytes() != canonical_json(terms):
        raise AgreementTextChanged("not what was read")
    signed = Signed.by(key, _consent(terms, signatory, key.fingerprint))
    write_whole(files.consent, canonical_json(signed))
    return signed


def signed_before(home: SiteHome) -> Consent:
    """What this home has signed with an invitation token, which is used up; raises `TokenUsed` where it has not."""
    file = IdentityFiles(home).consent
    if not file.exists():
        raise TokenUsed
    consent = Signed.model_validate_json(file.read_bytes())
    return consent.verified(load_signing(home.signing_key).public, Consent, what="the agreement")


def _consent(terms: AgreementTerms, signatory: str, fingerprint: str) -> Consent:
    try:
        return Consent(terms=terms, signatory=signatory, fingerprint=fingerprint, signed_at=datetime.now(UTC))
    except ValidationError as error:
        raise InvalidArgument(name="The signatory", problem="give a name and a role") from error
