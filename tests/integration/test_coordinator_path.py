"""The path from an invitation to an opened study, through real sockets on loopback."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.audit.service import every_event, receipt_heads
from coordinator.curation.fetching import fetching
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome, enrol_again, join
from coordinator.curation.membership import member_of as curator_of
from coordinator.store import audit_chain
from shared.agreement import State
from shared.crypto import pki
from shared.crypto.keys import load_tls
from shared.errors.agreements import (
    AgreementModeNotAllowed,
    AgreementNotExecuted,
    AgreementTextChanged,
    AgreementTransitionInvalid,
)
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.protocol import ProtocolMismatch
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import (
    CertificateExpired,
    CertificateForeign,
    NotEnrolled,
    RoleNotAllowed,
    SignatureInvalid,
    TokenEmpty,
    TokenExpired,
    TokenInvalid,
    TokenOfOtherKind,
    TokenUsed,
)
from shared.ids import Sha256
from shared.member import renew_if_due
from shared.proto.ricord.v1 import agreement_pb2, site_pb2, submission_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.site_pb2_grpc import SiteServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.protocol.loader import load_protocol
from shared.receipt import Receipt
from shared.signed import Signed, of_manifest
from shared.wire import connected, to_signed
from site_node.home.folder import init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.membership.record import load_membership
from site_node.membership.renewal import member_of, standing
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_study
from tests.factories.ports import free_ports


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(autouse=True)
def clock_reset(federation: Federation) -> Iterator[None]:
    yield
    federation.time.ahead = timedelta()


def test_a_study_reaches_the_curator_whole(federation: Federation) -> None:
    """Invited, read, signed, executed, enrolled, submitted, receipted, opened: every step is checked."""
    home, member = federation.site("Path Hospital")
    assert standing(member).state is State.EXECUTED
    sealed = sealed_study(home, member)
    with submitting(home, member) as submit:
        submitted = submit(sealed)
    receipt = Signed.model_validate_json(submitted.receipt.read_bytes())
    content = receipt.verified(member.coordinator_key, Receipt, what="the receipt")
    assert content.contents_sha256 == sealed.manifest.manifest.contents_sha256
    assert not sealed.ciphertext.exists(), "the outbox drops the ciphertext once the receipt is durable"
    with federation.reading() as reading:
        events = {event.number: event.digest for event in every_event(reading)}
        assert audit_chain.verify(every_event(reading), receipt_heads(reading)).intact
    assert events[content.audit_number] == content.audit_head

    curator = CuratorHome(federation.folder / "curator-curator")
    with fetching(curator, load_curator_keys(curator.keys), load_protocol()) as fetcher:
        opened = fetcher.open(content.submission)
    assert opened.folder == curator.opened / member.site_id / sealed.manifest.manifest.study
    assert len(opened.instances) == sealed.manifest.manifest.instance_count


def test_a_study_is_accepted_once(federation: Federation) -> None:
    """The same contents under the same agreement give the same receipt, however often and however sealed."""
    home, member = federation.site("Twice Hospital")
    sealed = sealed_study(home, member)
    ciphertext = sealed.ciphertext.read_bytes()
    with submitting(home, member) as submit:
        first = submit(sealed)
        receipt = first.receipt.read_bytes()
        first.receipt.unlink()
        sealed.ciphertext.write_bytes(ciphertext)
        second = submit(sealed)
    assert second.receipt.read_bytes() == receipt
    with federation.reading() as reading:
        assert len(reading.submissions(member.site_id)) == 1


def test_an_invitation_works_once(federation: Federation) -> None:
    """Signing uses the invitation token up; reading does not."""
    home = init_home(federation.folder / "once", name="Once Hospital")
    token = federation.invite("Once Hospital")
    with pytest.raises(AgreementNotExecuted):
        read_agreement(home, token)
    federation.draft("Once Hospital")
    assert read_agreement(home, token).terms == read_agreement(home, token).terms
    sign_agreement(home, token, signatory="B. Signatory, Director")
    with pytest.raises(TokenUsed):
        read_agreement(home, token)


def test_tokens_expire(federation: Federation) -> None:
    """Neither an invitation nor a join token outlives its time."""
    home = federation.signed_site("Late Hospital")
    join_token, invitation = federation.execute("Late Hospital"), federation.invite("Other Late Hospital")
    federation.time.ahead = timedelta(days=20)
    with pytest.raises(TokenExpired):
        enrol(home, join_token)
    with pytest.raises(TokenExpired):
        read_agreement(home, invitation)


def test_a_damaged_or_foreign_token_is_refused(federation: Federation) -> None:
    """A token must be copied whole, be of the right kind and exist."""
    home = init_home(federation.folder / "damaged", name="Damaged Hospital")
    token = federation.invite("Damaged Hospital")
    for text in (token[:-9], token[:40], "", token.replace("RICORD1-", "")):
        with pytest.raises((TokenInvalid, TokenEmpty)):
            read_agreement(home, text)
    with pytest.raises(TokenOfOtherKind):
        enrol(home, token)


def test_what_is_signed_is_what_was_read(federation: Federation) -> None:
    """A draft that changed since it was read cannot be signed, nor can a draft that was never read."""
    home = init_home(federation.folder / "redrafted", name="Redrafted Hospital")
    token = federation.invite("Redrafted Hospital")
    federation.draft("Redrafted Hospital")
    with pytest.raises(AgreementTextChanged):
        sign_agreement(home, token, signatory="C. Signatory, Director")
    read_agreement(home, token)
    federation.draft("Redrafted Hospital", modes=("submit",))
    with pytest.raises(AgreementTextChanged):
        sign_agreement(home, token, signatory="C. Signatory, Director")
    read_agreement(home, token)
    sign_agreement(home, token, signatory="C. Signatory, Director")


def test_nothing_is_executed_that_was_not_signed(federation: Federation) -> None:
    """A draft that no site has signed cannot be countersigned."""
    federation.invite("Unsigned Hospital")
    federation.draft("Unsigned Hospital")
    with pytest.raises(AgreementTransitionInvalid):
        federation.execute("Unsigned Hospital")


@pytest.mark.parametrize(
    ("changes", "term"),
    [
        ({"modes": []}, "modes"),
        ({"modes": ["all"]}, "modes"),
        ({"licence": " "}, "licence"),
        ({"scope": ""}, "description"),
    ],
)
def test_a_draft_says_all_it_must(federation: Federation, changes: dict[str, Any], term: str) -> None:
    """An incomplete draft is refused with the name of the term, and the agreement stays invited."""
    federation.invite("Hasty Hospital")
    request = agreement_pb2.DraftAgreementRequest(
        **{
            "site_name": "Hasty Hospital",
            "curator": "curator",
            "modes": ["submit"],
            "scope": "Chest imaging",
            "modalities": ["CT"],
            "licence": "CC BY-NC 4.0",
            **changes,
        }
    )
    with pytest.raises(InvalidArgument, match=term), federation.operator() as channel:
        AgreementServiceStub(channel).DraftAgreement(request)
    with federation.reading() as reading:
        assert {entry.site_name: entry.state for entry in reading.agreements()}["Hasty Hospital"] is State.INVITED


def test_an_agreement_needs_a_curator_that_enrolled(federation: Federation) -> None:
    """The curator's keys are part of the terms."""
    federation.invite("Curatorless Hospital")
    with pytest.raises(NotFound, match="nobody"):
        federation.draft("Curatorless Hospital", curator="nobody")


def test_only_the_key_that_signed_may_enrol(federation: Federation) -> None:
    """A join token that was stolen is of no use without the site's signing key."""
    federation.signed_site("Robbed Hospital")
    token = federation.execute("Robbed Hospital")
    thief = federation.signed_site("Thief Hospital")
    with pytest.raises(SignatureInvalid):
        enrol(thief, token)
    with pytest.raises(NotEnrolled):
        load_membership(thief)


def test_a_changed_membership_file_is_noticed(federation: Federation) -> None:
    """Nobody can put another curator into a site's identity folder."""
    home, member = federation.site("Tampered Hospital")
    file = home.identity / "agreement.json"
    file.write_text(file.read_text().replace(member.curator_fingerprint[-9:], "AAAAAAAAA"))
    with pytest.raises(SignatureInvalid):
        load_membership(home)


def test_suspension_holds_at_once(federation: Federation) -> None:
    """No study is accepted while the agreement is suspended; once it is resumed, studies are accepted."""
    home, member = federation.site("Suspended Hospital")
    federation.suspend("Suspended Hospital")
    sealed = sealed_study(home, member)
    with submitting(home, member) as submit:
        with pytest.raises(AgreementNotExecuted):
            submit(sealed)
        assert federation.execute("Suspended Hospital") == ""
        submit(sealed)


def test_an_agreement_without_the_mode_accepts_no_study(federation: Federation) -> None:
    """A site that agreed to statistics only cannot submit."""
    home, member = federation.site("Statistics Hospital", modes=("statistics",))
    with submitting(home, member) as submit, pytest.raises(AgreementModeNotAllowed):
        submit(sealed_study(home, member))


def test_another_protocol_is_refused(federation: Federation) -> None:
    """A study prepared under another protocol names the digest it was prepared under."""
    home, member = federation.site("Old Hospital")
    other_terms = member.terms.model_copy(update={"protocol_digest": Sha256("d" * 64)})
    sealed = sealed_study(home, member.model_copy(update={"terms": other_terms}))
    with submitting(home, member) as submit, pytest.raises(ProtocolMismatch) as caught:
        submit(sealed)
    assert caught.value.fields["held"] == "d" * 64


def test_a_revoked_certificate_is_refused_at_the_next_call(federation: Federation) -> None:
    """Revoking needs no restart; a new join token lets the site in again."""
    home, member = federation.site("Revoked Hospital")
    with federation.operator() as channel:
        request = site_pb2.RevokeCertificatesRequest(role="site", name="Revoked Hospital")
        assert SiteServiceStub(channel).RevokeCertificates(request).revoked == 1
    with pytest.raises(CertificateForeign):
        standing(member)
    again = enrol(home, federation.join_token("site", member.site_id))
    assert standing(again).state is State.EXECUTED


def test_renewal_keeps_the_name(federation: Federation) -> None:
    """A certificate is renewed at two thirds of its life, over its own connection."""
    home, member = federation.site("Renewing Hospital")
    before = member.certificate.read_bytes()
    assert not renew_if_due(member_of(member), datetime.now(UTC))
    assert renew_if_due(member_of(member), datetime.now(UTC) + timedelta(days=21))
    assert member.certificate.read_bytes() != before
    assert standing(load_membership(home)).state is State.EXECUTED


def test_an_expired_certificate_says_so(federation: Federation) -> None:
    """An expired certificate is reported as such, before a TLS handshake fails without a reason."""
    home, member = federation.site("Expired Hospital")
    csr = pki.make_csr(load_tls(home.tls_key))
    old = pki.issue(federation.identity.authority, csr, f"spiffe://test-federation/site/{member.site_id}", days=0)
    member.certificate.write_bytes(old)
    with pytest.raises(CertificateExpired):
        standing(member)


def test_a_foreign_certificate_says_so(federation: Federation, tmp_path: Path) -> None:
    """A site's certificate and a coordinator's are both refused when another root issued them."""
    home, member = federation.site("Foreign Hospital")
    other_ca = pki.make_ca("test-federation")
    uri = f"spiffe://test-federation/site/{member.site_id}"
    member.certificate.write_bytes(pki.issue(other_ca, pki.make_csr(load_tls(home.tls_key)), uri))
    with pytest.raises(CertificateForeign):
        standing(member)
    member.root.write_bytes(other_ca.certificate_pem)
    with pytest.raises(CertificateForeign):
        standing(member)


def test_an_unreachable_coordinator_is_named(federation: Federation) -> None:
    """The error gives the address."""
    _, member = federation.site("Lonely Hospital")
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    addresses = member.addresses.model_copy(update={"main": nowhere})
    with pytest.raises(CoordinatorUnreachable, match=nowhere):
        standing(member.model_copy(update={"addresses": addresses}))


def test_each_role_keeps_to_its_calls(federation: Federation) -> None:
    """A site cannot make the operator's calls, and the operator cannot make the curator's."""
    _, member = federation.site("Curious Hospital")
    with pytest.raises(RoleNotAllowed), connected(member.addresses.main, member.credentials) as channel:
        SiteServiceStub(channel).ListSites(site_pb2.ListSitesRequest())
    with pytest.raises(RoleNotAllowed), federation.operator() as channel:
        next(iter(SubmissionServiceStub(channel).Fetch(submission_pb2.FetchRequest(id="0" * 64))))


def test_a_site_cannot_submit_for_another(federation: Federation) -> None:
    """The manifest's signature must be the key of the site whose certificate calls."""
    home, member = federation.site("Honest Hospital")
    _, other = federation.site("Other Hospital")
    sealed = sealed_study(home, member)
    request = submission_pb2.GetUploadOffsetRequest(manifest=to_signed(of_manifest(sealed.manifest)))
    with pytest.raises(SignatureInvalid), connected(other.addresses.main, other.credentials) as channel:
        SubmissionServiceStub(channel).GetUploadOffset(request)


def test_a_curator_cannot_be_replaced(federation: Federation) -> None:
    """A second join token for a curator's name admits no other keys, and another curator opens none of its studies."""
    with pytest.raises(SignatureInvalid):
        join(
            CuratorHome(federation.folder / "impostor"), federation.join_token("curator", "curator"), protocol="ricord"
        )
    home, member = federation.site("Guarded Hospital")
    with submitting(home, member) as submit:
        submit(sealed_study(home, member))
    stranger = federation.curator("stranger")
    keys = load_curator_keys(stranger.keys)
    with fetching(stranger, keys, load_protocol()) as fetcher:
        assert not fetcher.submissions(), "a curator sees only what is sealed to it"
        with federation.reading() as reading:
            [submission] = reading.submissions(member.site_id)
        with pytest.raises(RoleNotAllowed):
            fetcher.open(submission.id)
        with pytest.raises(NotFound):
            fetcher.open("0" * 64)


def test_a_curator_renews_and_enrols_again(federation: Federation) -> None:
    """Near its end a certificate renews by itself; after a revocation a new token admits the same keys."""
    home = federation.curator("renewing")
    member = curator_of(home, load_curator_keys(home.keys))
    assert not renew_if_due(member, datetime.now(UTC))
    due = datetime.now(UTC) + timedelta(days=21)
    before = home.certificate.read_bytes()
    assert renew_if_due(member, due)
    assert home.certificate.read_bytes() != before
    with federation.operator() as channel:
        request = site_pb2.RevokeCertificatesRequest(role="curator", name="renewing")
        assert SiteServiceStub(channel).RevokeCertificates(request).revoked == 2
    with pytest.raises(CertificateForeign):
        renew_if_due(member, due)
    enrol_again(home, federation.join_token("curator", "renewing"))
    assert renew_if_due(member, due)
