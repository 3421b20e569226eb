"""What crosses the wire of newcomers and members is what was done and is kept, field by field and page by page."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.message import Message

from coordinator.agreements.lookup import agreement_of
from coordinator.agreements.text import agreement_text
from coordinator.enrolment.issued_tokens import IssuedTokens
from coordinator.enrolment.service import EnrolmentService
from coordinator.enrolment.servicer import EnrolmentServicer, MembershipServicer, SiteServicer
from coordinator.presence.service import PresenceService
from coordinator.store.records import TokenRow
from coordinator.trust.interceptor import peer_of
from shared.agreement import AgreementTerms, State
from shared.crypto.pki import Role, expires_at
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.enrolment import Enrolment, KeyRotation
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import TokenExpired
from shared.ids import Sha256, SiteId
from shared.proto.ricord.v1 import enrolment_pb2, membership_pb2, site_pb2
from shared.signed import Signed
from shared.token import Token, TokenKind, secret_digest
from shared.wire import from_signed, from_timestamp, to_signed
from tests.factories.callers import call_by
from tests.factories.parties import ACTOR, CSR, NAMES, Coordinator, consent, draft, enrolment, founded

OPERATOR = call_by(Role.COORDINATOR, "operator")
ANSWER: dict[str, Any] = {
    "country": "DE",
    "modalities": ["CT"],
    "studies": 9,
    "modes": ["submit"],
    "clinical_data": True,
    "ethics": "applied",
}


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with founded(tmp_path_factory.mktemp("showing")) as parties:
        yield parties


@pytest.fixture(autouse=True)
def clock_reset(coordinator: Coordinator) -> Iterator[None]:
    yield
    coordinator.time.ahead = timedelta()


@pytest.fixture
def enrolling(coordinator: Coordinator) -> EnrolmentServicer:
    return EnrolmentServicer(coordinator.enrolment, coordinator.identity)


@pytest.fixture
def membership(coordinator: Coordinator) -> MembershipServicer:
    return MembershipServicer(coordinator.enrolment, coordinator.identity)


@pytest.fixture
def sites(coordinator: Coordinator) -> SiteServicer:
    return SiteServicer(coordinator.members, IssuedTokens(coordinator.store, coordinator.time))


def present(message: Message) -> set[str]:
    """The fields that a message has."""
    return {field.name for field, _ in message.ListFields()}


def last_event(coordinator: Coordinator) -> tuple[str, str, str]:
    with coordinator.store.read() as reading:
        event = list(reading.events(limit=10_000))[-1]
    return event.actor, event.action, event.object


def enrolled(coordinator: Coordinator) -> tuple[str, SigningKey, Any]:
    """A hospital's name and key, and the context of its calls."""
    name, key, secret = coordinator.executed()
    member = coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    return name, key, call_by(Role.SITE, member.name, certificate=member.certificate)


def test_a_newcomer_gets_what_it_needs(coordinator: Coordinator, enrolling: EnrolmentServicer) -> None:
    """The terms to sign; then its name, its certificate, the roots of trust and, for a site, the agreement."""
    name, _, terms = coordinator.offered()
    _, (token, _) = coordinator.members.invite(name, actor=ACTOR)
    read = enrolling.ReadAgreement(enrolment_pb2.ReadAgreementRequest(token_secret=token.secret), call_by(*STRANGER))
    assert (AgreementTerms.model_validate_json(read.terms), read.text) == (terms, agreement_text())
    key = SigningKey.generate()
    signed = consent(key, terms)
    sign = enrolment_pb2.SignAgreementRequest(
        token_secret=token.secret, consent=to_signed(signed), verify_key=key.public.text
    )
    agreement = enrolling.SignAgreement(sign, call_by(*STRANGER)).agreement
    assert (agreement.site_name, agreement.site_id, from_signed(agreement.consent)) == (name, "", signed)
    assert last_event(coordinator) == (f"site {name}", "agreement signed", agreement.id)
    _, issued = coordinator.agreements.execute(name, actor=ACTOR)
    assert issued is not None
    secret = issued.token.secret
    identity = coordinator.identity
    enrol = enrolment_pb2.EnrolRequest(
        token_secret=secret, csr=CSR, enrolment=to_signed(enrolment(key, secret)), verify_key=key.public.text
    )
    answer = enrolling.Enrol(enrol, call_by(*STRANGER))
    site_id = coordinator.members.site(name).site.site_id
    assert (answer.role, answer.name, answer.agreement.site_id) == ("site", site_id, site_id)
    assert answer.agreement.HasField("execution")
    assert answer.coordinator_verify_key == identity.signing_key.public.text
    assert (answer.root, answer.protocol_digest) == (identity.root, identity.protocol_digest)
    token = coordinator.members.join_token(Role.RESEARCHER, "rhea", actor=ACTOR).token
    enrol = enrolment_pb2.EnrolRequest(
        token_secret=token.secret,
        csr=CSR,
        enrolment=to_signed(enrolment(key, token.secret)),
        verify_key=key.public.text,
    )
    answer = enrolling.Enrol(enrol, call_by(*STRANGER))
    assert (answer.role, answer.name, answer.HasField("agreement")) == ("researcher", "rhea", False)


STRANGER = (Role.SITE, "123456")  # on the enrolment port nobody asks who calls


def test_a_member_is_told_of_itself(coordinator: Coordinator, membership: MembershipServicer) -> None:
    """A site of its agreement, with its SITEID; a person of none; nobody of another."""
    name, key, site = enrolled(coordinator)
    site_id = coordinator.members.site(name).site.site_id
    answer = membership.GetMembership(membership_pb2.GetMembershipRequest(), site)
    assert (answer.role, answer.name, answer.protocol_digest) == (
        "site", site_id, coordinator.identity.protocol_digest,
    )  # fmt: skip
    assert (answer.agreement.site_name, answer.agreement.site_id) == (name, site_id)
    person = membership.GetMembership(membership_pb2.GetMembershipRequest(), call_by(Role.CURATOR, "carla"))
    assert (person.role, person.name, person.HasField("agreement")) == ("curator", "carla", False)
    with pytest.raises(AgreementNotExecuted):
        membership.ReadAmendment(membership_pb2.ReadAmendmentRequest(), site)
    coordinator.agreements.amend(draft(name), actor=ACTOR)
    offer = membership.ReadAmendment(membership_pb2.ReadAmendmentRequest(), site)
    terms = AgreementTerms.model_validate_json(offer.terms)
    assert (terms.version, offer.text) == (2, agreement_text())
    signed = consent(key, terms)
    answered = membership.SignAmendment(membership_pb2.SignAmendmentRequest(consent=to_signed(signed)), site)
    assert from_signed(answered.agreement.amendment_consent) == signed
    assert answered.agreement.site_id == site_id
    request = membership_pb2.RenewCertificateRequest(csr=CSR, enrolment=to_signed(enrolment(key, None)))
    renewed = membership.RenewCertificate(request, site)
    assert renewed.root == coordinator.identity.root
    assert coordinator.members.site(name).certificate_ends_at == expires_at(renewed.certificate)


def test_a_curators_next_keys_are_kept(coordinator: Coordinator, membership: MembershipServicer) -> None:
    """Those that it signed with the former one."""
    keys, recipients = [SigningKey.generate() for _ in range(2)], [generate_identity().recipient for _ in range(2)]
    coordinator.join(Role.CURATOR, "clio", keys[0], recipients[0])
    rotation = KeyRotation(name="clio", verify_key=keys[1].public.text, recipient=recipients[1])
    statement = Enrolment(csr_sha256=Sha256("0" * 64), token_sha256=None, recipient=recipients[1])
    request = membership_pb2.RotateKeysRequest(
        rotation=to_signed(Signed.by(keys[0], rotation)), statement=to_signed(Signed.by(keys[1], statement))
    )
    membership.RotateKeys(request, call_by(Role.CURATOR, "clio"))
    with coordinator.store.read() as reading:
        member = reading.member(Role.CURATOR, "clio")
    assert member is not None
    assert (member.verify_key, member.recipient) == (keys[1].public.text, recipients[1])


def test_nobody_renews_faster_than_a_day_needs(coordinator: Coordinator, membership: MembershipServicer) -> None:
    """Five certificates within a day are a member's, each member's by itself; the day after there are more."""
    _, key, site = enrolled(coordinator)
    request = membership_pb2.RenewCertificateRequest(csr=CSR, enrolment=to_signed(enrolment(key, None)))
    for _ in range(4):
        membership.RenewCertificate(request, site)
    with pytest.raises(InvalidArgument):
        membership.RenewCertificate(request, site)
    _, other_key, other = enrolled(coordinator)
    other_request = membership_pb2.RenewCertificateRequest(csr=CSR, enrolment=to_signed(enrolment(other_key, None)))
    membership.RenewCertificate(other_request, other)
    name = peer_of(site).name
    with coordinator.store.read() as reading:
        first = min(row.ends_at for row in reading.certificates(Role.SITE, name))
    moment = first - timedelta(days=coordinator.identity.certificate_days - 1)  # the first is a day old to the moment
    a_day_on = EnrolmentService(coordinator.store, coordinator.identity, lambda: moment)
    MembershipServicer(a_day_on, coordinator.identity).RenewCertificate(request, site)


def test_a_site_is_shown_as_far_as_it_has_come(coordinator: Coordinator, sites: SiteServicer) -> None:
    """What it did not do yet is absent: its answer, its SITEID, its key, its enrolment, its last report."""
    name = next(NAMES)
    imported = sites.ImportSurvey(
        site_pb2.ImportSurveyRequest(answers=[site_pb2.SurveyAnswer(site_name=name, **ANSWER)]), OPERATOR
    )
    assert (imported.recorded, imported.replaced) == (1, 0)

    def shown(name: str = name) -> tuple[site_pb2.Site, set[str]]:
        message = sites.GetSite(site_pb2.GetSiteRequest(reference=name), OPERATOR).site
        view = coordinator.members.site(name)
        assert (message.name, message.agreement_id) == (name, view.site.agreement)
        assert (message.site_id, message.verify_key) == (view.site.site_id or "", view.site.verify_key or "")
        assert from_timestamp(message.recorded_at) == view.site.recorded_at
        return message, present(message) - {"name", "agreement_id", "state", "recorded_at"}

    message, fields = shown()
    assert fields == {"survey"}
    assert (message.survey.site_name, list(message.survey.modalities), message.survey.ethics) == (
        name, ["CT"], "applied",
    )  # fmt: skip
    invited = sites.InviteSite(site_pb2.InviteSiteRequest(site_name=name), OPERATOR)
    assert from_timestamp(invited.expires_at) > coordinator.time()
    assert Token.parse(invited.token, kind=TokenKind.INVITATION).federation == coordinator.identity.federation
    assert (invited.site, fields) == (shown()[0], {"survey"})
    assert sites.ImportSurvey(
        site_pb2.ImportSurveyRequest(answers=[site_pb2.SurveyAnswer(site_name=name, **ANSWER)]), OPERATOR
    ) == site_pb2.ImportSurveyResponse(replaced=1)
    name, key, _ = enrolled(coordinator)
    message, fields = shown(name)
    assert fields == {"site_id", "verify_key", "fingerprint", "enrolled_at", "certificate_ends_at"}
    assert message.fingerprint == key.fingerprint
    assert from_timestamp(message.enrolled_at) == coordinator.members.site(name).site.enrolled_at
    assert from_timestamp(message.certificate_ends_at) == coordinator.members.site(name).certificate_ends_at
    numbers = ("received", "waiting", "quarantined", "excluded", "refused", "submitted", "queued", "free_bytes")
    values = {**dict.fromkeys(numbers, 1), "certificate_ends_at": coordinator.time(), "version": "1.0"}
    PresenceService(coordinator.store, coordinator.time).report(SiteId(message.site_id), values)
    assert shown(name)[1] == fields | {"contact"}


def test_lists_are_read_page_by_page(coordinator: Coordinator, sites: SiteServicer) -> None:
    """Each site and each token once; the last page names nothing after it."""
    for _ in range(2):
        enrolled(coordinator)
    names, after = list[str](), ""
    while after or not names:
        page = sites.ListSites(site_pb2.ListSitesRequest(after=after, limit=1), OPERATOR)
        names += [site.name for site in page.sites]
        after = page.next
        assert after in {"", names[-1]}
    digests = list[str]()
    while after or not digests:
        tokens = sites.ListTokens(site_pb2.ListTokensRequest(after=after, limit=2), OPERATOR)
        digests += [token.digest for token in tokens.tokens]
        after = tokens.next
        assert after in {"", digests[-1]}
    with coordinator.store.read() as reading:
        assert names == sorted(site.name for site in reading.sites())
        assert digests == sorted(token.digest for token in reading.tokens())


def test_a_token_is_shown_as_it_stands(
    coordinator: Coordinator, sites: SiteServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open until its last moment; then over, unless it was used or revoked before."""
    now = coordinator.time()
    monkeypatch.setattr("coordinator.enrolment.servicer.utc_now", lambda: now)
    tick = timedelta(microseconds=1)
    wanted = {"open": ("OPEN", tick), "over": ("EXPIRED", -tick), "now": ("EXPIRED", timedelta()),
              "used": ("USED", -tick), "revoked": ("REVOKED", -tick)}  # fmt: skip
    with coordinator.store.begin() as work:
        for subject, (state, ahead) in wanted.items():
            row = TokenRow(
                digest=secret_digest(subject), kind=TokenKind.JOIN, role=Role.CURATOR, subject=subject,
                expires_at=now + ahead + (tick if state == "REVOKED" else timedelta()),
            )  # fmt: skip
            work.add_token(row)
            if state == "USED":
                work.use_token(row.digest, now)
            elif state == "REVOKED":
                work.cancel_token(row.digest, now + ahead)  # it ends then
    shown = {token.subject: token for token in sites.ListTokens(site_pb2.ListTokensRequest(), OPERATOR).tokens}
    for subject, (state, ahead) in wanted.items():
        token = shown[subject]
        assert site_pb2.TokenState.Name(token.state) == f"TOKEN_STATE_{state}"
        assert (token.digest, token.kind, token.role) == (secret_digest(subject), "join", "curator")
        assert from_timestamp(token.expires_at) == now + ahead
        assert (from_timestamp(token.used_at) if token.HasField("used_at") else None) == (
            now if state == "USED" else None
        )


def test_who_is_let_in_and_who_is_put_out_is_named(coordinator: Coordinator, sites: SiteServicer) -> None:
    """By the whole name, however it was asked for; with what was good until then."""
    name, _, _ = enrolled(coordinator)
    site_id = coordinator.members.site(name).site.site_id
    assert site_id is not None
    issued = sites.IssueJoinToken(site_pb2.IssueJoinTokenRequest(role="site", name=site_id), OPERATOR)
    assert issued.name == name
    assert from_timestamp(issued.expires_at) > coordinator.time()
    digest = secret_digest(Token.parse(issued.token, kind=TokenKind.JOIN).secret)
    out = sites.RevokeCertificates(site_pb2.RevokeCertificatesRequest(role="site", name=site_id), OPERATOR)
    assert (out.revoked, out.cancelled_tokens, out.name) == (1, 1, name)
    again = sites.IssueJoinToken(site_pb2.IssueJoinTokenRequest(role="curator", name="cleo"), OPERATOR)
    [token] = sites.RevokeTokens(site_pb2.RevokeTokensRequest(reference="cleo"), OPERATOR).tokens
    assert token.digest == secret_digest(Token.parse(again.token, kind=TokenKind.JOIN).secret) != digest
    assert token.state == site_pb2.TOKEN_STATE_REVOKED
    assert last_event(coordinator) == (ACTOR, "token revoked", f"join token {token.digest[:16]} for curator cleo")
    for role in ("", "king"):
        with pytest.raises(InvalidArgument, match="role"):
            sites.IssueJoinToken(site_pb2.IssueJoinTokenRequest(role=role, name="cleo"), OPERATOR)


@pytest.mark.parametrize("changes", [{"country": "Germany"}, {"modalities": []}, {"ethics": "perhaps"}])
def test_a_wrong_answer_is_named_by_its_number(
    coordinator: Coordinator, sites: SiteServicer, changes: dict[str, Any]
) -> None:
    """From 1 on, with the field; none is recorded."""
    right, wrong = (site_pb2.SurveyAnswer(site_name=next(NAMES), **{**ANSWER, **more}) for more in ({}, changes))
    for answers, number in (([wrong], 1), ([right, wrong], 2)):
        with pytest.raises(InvalidArgument) as refusal:
            sites.ImportSurvey(site_pb2.ImportSurveyRequest(answers=answers), OPERATOR)
        assert refusal.value.fields["name"] == f"Answer {number}"
        assert refusal.value.fields["problem"].startswith(f"{next(iter(changes))}: ")
    with coordinator.store.read() as reading:
        assert reading.site(right.site_name) is None


@pytest.mark.parametrize("name", ["", "123456", "x" * 101])
def test_an_answer_under_a_wrong_name_is_named_too(coordinator: Coordinator, sites: SiteServicer, name: str) -> None:
    """Wherever it stands, with what is wrong with the name."""
    right, wrong = (site_pb2.SurveyAnswer(site_name=each, **ANSWER) for each in (next(NAMES), name))
    for answers, number in (([wrong], 1), ([right, wrong], 2)):
        with pytest.raises(InvalidArgument) as refusal:
            sites.ImportSurvey(site_pb2.ImportSurveyRequest(answers=answers), OPERATOR)
        assert refusal.value.fields["name"] == f"Answer {number}"
        assert "printable characters" in refusal.value.fields["problem"]


def test_an_invited_hospital_is_put_out_by_its_name(coordinator: Coordinator, sites: SiteServicer) -> None:
    """It has no SITEID and no certificate yet; its invitation lets it sign nothing any more."""
    _, (token, _) = coordinator.members.invite(name := next(NAMES), actor=ACTOR)
    out = sites.RevokeCertificates(site_pb2.RevokeCertificatesRequest(role="site", name=name), OPERATOR)
    assert (out.revoked, out.cancelled_tokens, out.name) == (0, 1, name)
    assert last_event(coordinator) == (ACTOR, "0 certificates revoked, 1 token cancelled", f"site/{name}")
    with pytest.raises(TokenExpired):
        coordinator.enrolment.read_agreement(token.secret)


def test_a_lost_member_is_let_in_while_its_agreement_permits(coordinator: Coordinator, sites: SiteServicer) -> None:
    """A suspended or ended one gets no token."""
    name, _, _ = enrolled(coordinator)
    coordinator.agreements.suspend(name, actor=ACTOR)
    with pytest.raises(AgreementNotExecuted):
        sites.IssueJoinToken(site_pb2.IssueJoinTokenRequest(role="site", name=name), OPERATOR)
    with coordinator.store.read() as reading:
        assert agreement_of(reading, name).state is State.SUSPENDED
