"""Who invites, lets join, imports, revokes and renews: each with its event, in its state, and shown as it is."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from coordinator.agreements.lookup import agreement_of
from coordinator.enrolment.members import MemberService
from coordinator.enrolment.service import registered_key
from coordinator.store.records import Node
from shared.agreement import State
from shared.crypto.pki import Role, expires_at, serial_of
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.errors.agreements import AgreementNotExecuted, AgreementTransitionInvalid
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.trust import CertificateExpired, CertificateForeign
from shared.ids import SiteId
from shared.survey import SurveyAnswer
from tests.factories.parties import ACTOR, CSR, NAMES, Coordinator, draft, enrolment, founded
from tests.factories.rows import make_run, make_site


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with founded(tmp_path_factory.mktemp("members")) as parties:
        yield parties


@pytest.fixture(autouse=True)
def clock_reset(coordinator: Coordinator) -> Iterator[None]:
    yield
    coordinator.time.ahead = timedelta()


def last_event(coordinator: Coordinator) -> tuple[str, str, str]:
    with coordinator.store.read() as reading:
        event = list(reading.events(limit=10_000))[-1]
    return event.actor, event.action, event.object


def enrolled_site(coordinator: Coordinator) -> tuple[str, str, SigningKey, str]:
    """A site's name, SITEID, key and the serial of its certificate."""
    name, key, secret = coordinator.executed()
    member = coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    return name, member.name, key, serial_of(member.certificate)


def test_every_act_on_a_member_is_an_event(coordinator: Coordinator) -> None:
    """By whom, what, about whom."""
    members, survey = coordinator.members, make_site().survey
    assert survey is not None
    members.import_survey([(name, survey) for name in (next(NAMES), next(NAMES))], actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "survey imported", "2 answers")
    members.invite(name := next(NAMES), actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "site invited", name)
    members.join_token(Role.RESEARCHER, "rosa", actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "join token issued to researcher", "rosa")
    members.revoke(Role.RESEARCHER, "rosa", actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "0 certificates revoked, 1 token cancelled", "researcher/rosa")
    name, site_id, key, serial = enrolled_site(coordinator)
    renewed = coordinator.enrolment.renew(Role.SITE, site_id, CSR, enrolment(key, None), serial=serial)
    uri = coordinator.identity.uri(Role.SITE, site_id)
    assert last_event(coordinator) == (uri, "certificate renewed", serial_of(renewed))
    members.revoke(Role.SITE, name, actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "2 certificates revoked, 0 tokens cancelled", f"site/{site_id}")


def test_a_certificate_is_renewed_in_its_time_and_under_an_agreement(coordinator: Coordinator) -> None:
    """By its own holder; a termination forbids it also where no certificate was revoked, a suspension does not."""
    name, site_id, key, serial = enrolled_site(coordinator)
    other = enrolled_site(coordinator)

    def renew(serial: str = serial) -> bytes:
        return coordinator.enrolment.renew(Role.SITE, site_id, CSR, enrolment(key, None), serial=serial)

    assert expires_at(renew()) > coordinator.time() + timedelta(days=coordinator.identity.certificate_days - 1)
    with pytest.raises(CertificateForeign):
        renew(other[3])
    coordinator.agreements.suspend(name, actor=ACTOR)
    renew()
    with coordinator.store.begin() as work:
        agreement = agreement_of(work, name)
        work.put_agreement(agreement.model_copy(update={"state": State.TERMINATED}))
    with pytest.raises(AgreementNotExecuted):
        renew()
    with coordinator.store.begin() as work:
        work.put_agreement(agreement)
    coordinator.time.ahead = timedelta(days=coordinator.identity.certificate_days)
    with pytest.raises(CertificateExpired):
        renew()


def test_a_person_renews_without_an_agreement(coordinator: Coordinator) -> None:
    """And has none to show; a member that nobody knows has no key."""
    key, recipient = SigningKey.generate(), generate_identity().recipient
    member = coordinator.join(Role.CURATOR, "cora", key, recipient)
    serial = serial_of(member.certificate)
    assert coordinator.enrolment.renew(Role.CURATOR, "cora", CSR, enrolment(key, None), serial=serial)
    assert coordinator.enrolment.membership(Role.CURATOR, "cora") is None
    name, site_id, _, _ = enrolled_site(coordinator)
    agreement = coordinator.enrolment.membership(Role.SITE, site_id)
    assert agreement is not None
    assert (agreement.site_name, agreement.state) == (name, State.EXECUTED)
    coordinator.members.invite(invited := next(NAMES), actor=ACTOR)
    with coordinator.store.read() as reading:
        assert registered_key(reading, Role.CURATOR, "cora") == key.public.text
        for role, stranger in ((Role.SITE, invited), (Role.SITE, "Nowhere"), (Role.CURATOR, "nobody")):
            with pytest.raises(NotFound):
                registered_key(reading, role, stranger)


def test_a_site_is_shown_with_its_last_certificate(coordinator: Coordinator) -> None:
    """Until that is revoked; an invited one has none."""
    name, site_id, key, serial = enrolled_site(coordinator)
    coordinator.time.ahead = timedelta(days=2)
    renewed = coordinator.enrolment.renew(Role.SITE, site_id, CSR, enrolment(key, None), serial=serial)
    assert coordinator.members.site(name).certificate_ends_at == expires_at(renewed)
    assert coordinator.members.whole_name(Role.SITE, site_id) == name
    assert coordinator.members.whole_name(Role.CURATOR, "carla") == "carla"
    coordinator.members.revoke(Role.SITE, name, actor=ACTOR)
    assert coordinator.members.site(name).certificate_ends_at is None
    view, _ = coordinator.members.invite(next(NAMES), actor=ACTOR)
    assert (view.state, view.certificate_ends_at, view.contact) == (State.INVITED, None, None)


def test_who_has_signed_is_not_invited_until_it_may_sign_again(coordinator: Coordinator) -> None:
    """An agreement in force or suspended needs no invitation, and one that ended needs a next version first."""
    name, _, _, _ = enrolled_site(coordinator)
    with pytest.raises(AgreementTransitionInvalid):
        coordinator.members.invite(name, actor=ACTOR)
    coordinator.agreements.suspend(name, actor=ACTOR)
    with pytest.raises(AgreementTransitionInvalid):
        coordinator.members.invite(name, actor=ACTOR)
    coordinator.agreements.terminate(name, actor=ACTOR)
    with pytest.raises(AgreementTransitionInvalid, match="reinstate"):
        coordinator.members.invite(name, actor=ACTOR)
    coordinator.agreements.amend(draft(name), reinstate=True, actor=ACTOR)
    view, (token, _) = coordinator.members.invite(name, actor=ACTOR)
    assert view.state is State.TERMINATED
    assert coordinator.enrolment.read_agreement(token.secret)[0].version == 2


def test_what_ended_unsigned_begins_anew(coordinator: Coordinator) -> None:
    """Nothing of the draft before is left, but its number is not used again."""
    name, _, _ = coordinator.offered(expires_at=coordinator.time() + timedelta(days=1))
    coordinator.time.ahead = timedelta(days=2)
    coordinator.members.invite(name, actor=ACTOR)
    with coordinator.store.read() as reading:
        agreement = agreement_of(reading, name)
    assert (agreement.state, agreement.version) == (State.INVITED, 1)
    kept = (agreement.terms, agreement.consent, agreement.curator, agreement.expires_at, agreement.attachment)
    assert kept == (None,) * 5


@pytest.mark.parametrize(("name", "valid"), [("H" * 100, True), ("H" * 101, False), ("7a", True), ("77", False)])
def test_a_hospital_has_a_name_of_a_hundred_characters(coordinator: Coordinator, name: str, valid: bool) -> None:
    """At most, with one that is no digit."""
    if valid:
        assert coordinator.members.invite(name, actor=ACTOR)[0].site.name == name
    else:
        with pytest.raises(InvalidArgument):
            coordinator.members.invite(name, actor=ACTOR)


def test_a_hospital_answers_once(coordinator: Coordinator) -> None:
    """In one survey; in the next its answer is replaced, and counted as that."""
    survey: SurveyAnswer | None = make_site().survey
    assert survey is not None
    names = [next(NAMES) for _ in range(2)]
    members: MemberService = coordinator.members
    with pytest.raises(InvalidArgument, match="Answer 3"):
        members.import_survey([(name, survey) for name in (*names, names[0])], actor=ACTOR)
    assert members.import_survey([(name, survey) for name in names], actor=ACTOR) == (2, 0)
    assert members.import_survey([(name, survey) for name in names], actor=ACTOR) == (0, 2)


def test_a_revoked_site_is_no_node_of_a_federation(coordinator: Coordinator) -> None:
    """Its key there is deleted with its certificates."""
    name, site_id, _, _ = enrolled_site(coordinator)
    with coordinator.store.begin() as work:
        work.put_node(Node(site_id=SiteId(site_id), public_key=name, registered_at=coordinator.time()))
    coordinator.members.revoke(Role.SITE, name, actor=ACTOR)
    with coordinator.store.read() as reading:
        assert reading.node_with(name) is None


def test_whoever_is_known_is_revoked_again(coordinator: Coordinator) -> None:
    """There is nothing left to revoke, and that is said; it is no mistyped name."""
    coordinator.join(Role.CURATOR, "cara", SigningKey.generate(), generate_identity().recipient)
    for role, name in ((Role.CURATOR, "cara"), (Role.SITE, enrolled_site(coordinator)[0])):
        assert coordinator.members.revoke(role, name, actor=ACTOR) == (1, 0)
        assert coordinator.members.revoke(role, name, actor=ACTOR) == (0, 0)


def test_what_a_revoked_researcher_asked_for_ends(coordinator: Coordinator) -> None:
    """And nothing of another's, nor where a curator of the same name is revoked."""
    runs = [make_run(number, "proposed").model_copy(update={"actor": f"researcher/{name}"})
            for number, name in enumerate(("rika", "other"), start=1)]  # fmt: skip
    with coordinator.store.begin() as work:
        for run in runs:
            work.put_run(run)
    for role, states in ((Role.CURATOR, ["proposed", "proposed"]), (Role.RESEARCHER, ["declined", "proposed"])):
        coordinator.members.join_token(role, "rika", actor=ACTOR)
        coordinator.members.revoke(role, "rika", actor=ACTOR)
        with coordinator.store.read() as reading:
            assert [kept.state for run in runs if (kept := reading.run(run.id))] == states
