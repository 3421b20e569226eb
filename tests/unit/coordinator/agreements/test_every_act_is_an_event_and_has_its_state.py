"""Each act of a coordinator: in its state only, to its moment, with what it changes and with its event."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from coordinator.agreements.drafting import CheckedScope
from coordinator.agreements.lifecycle import amended, terms_of, to_sign
from coordinator.agreements.lookup import (
    agreement_of,
    named_agreement,
    named_site,
    named_site_id,
    site_of,
    terms_in_force,
    version_of,
)
from coordinator.store.records import Agreement
from shared.agreement import Consent, Execution, Mode, State
from shared.crypto.pki import Role
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.errors.agreements import AgreementNotBegun, AgreementNotExecuted, AgreementTransitionInvalid
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.trust import TokenExpired
from shared.ids import AgreementId, Sha256, SiteId
from tests.factories.parties import ACTOR, CSR, NAMES, Coordinator, consent, draft, enrolment, founded

TICK = timedelta(microseconds=1)
CENTURY = timedelta(days=36525)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with founded(tmp_path_factory.mktemp("agreeing")) as parties:
        yield parties


@pytest.fixture(autouse=True)
def still(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the services stands, so that a moment can be met."""
    now = coordinator.time()
    monkeypatch.setattr(type(coordinator.time), "__call__", lambda self: now + self.ahead)
    monkeypatch.setattr(coordinator.time, "ahead", timedelta())


def row_of(coordinator: Coordinator, name: str) -> Agreement:
    with coordinator.store.read() as reading:
        return agreement_of(reading, name)


def last_event(coordinator: Coordinator) -> tuple[str, str, str]:
    with coordinator.store.read() as reading:
        event = list(reading.events(limit=10_000))[-1]
    return event.actor, event.action, event.object


def amended_by_both(coordinator: Coordinator, name: str, key: SigningKey, **changes: Any) -> None:
    """Offer the next version, and have its site sign it."""
    coordinator.agreements.amend(draft(name, **changes), actor=ACTOR)
    site_id = coordinator.members.site(name).site.site_id
    assert site_id is not None
    terms, _ = coordinator.enrolment.read_amendment(site_id)
    coordinator.enrolment.sign_amendment(site_id, consent(key, terms))


def test_every_act_is_an_event(coordinator: Coordinator) -> None:
    """From the draft to the end: who, what, about which agreement."""
    name, secret, terms = coordinator.offered()
    about = row_of(coordinator, name).id
    assert last_event(coordinator) == (ACTOR, "agreement drafted", about)
    key = SigningKey.generate()
    with pytest.raises(AgreementTransitionInvalid):
        coordinator.agreements.attach(name, Sha256("1" * 64), actor=ACTOR)
    coordinator.enrolment.sign_agreement(secret, consent(key, terms), key.public.text)
    assert last_event(coordinator) == (f"site {name}", "agreement signed", about)
    coordinator.agreements.attach(name, Sha256("1" * 64), actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, f"document attached, SHA-256 {'1' * 64}", about)
    executed, issued = coordinator.agreements.execute(name, actor=ACTOR)
    site_id = coordinator.members.site(name).site.site_id
    assert issued is not None
    assert last_event(coordinator) == (ACTOR, f"agreement executed for site {site_id}", about)
    assert (executed.attachment, executed.version) == ("1" * 64, 1)
    coordinator.agreements.suspend(name, actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "agreement suspended", about)
    assert coordinator.agreements.execute(name, actor=ACTOR)[1] is None
    assert last_event(coordinator) == (ACTOR, "agreement resumed", about)
    coordinator.agreements.amend(draft(name), actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "agreement amendment drafted", about)
    coordinator.agreements.terminate(name, actor=ACTOR)
    assert last_event(coordinator) == (ACTOR, "agreement terminated", about)
    assert row_of(coordinator, name).amendment is None


def test_a_countersignature_names_what_it_countersigns(coordinator: Coordinator) -> None:
    """The consent by digest, the version and the SITEID, by the coordinator's key."""
    name, key, secret = coordinator.executed()
    agreement = row_of(coordinator, name)
    assert agreement.execution is not None
    assert agreement.consent is not None
    execution = agreement.execution.verified(coordinator.identity.signing_key.public, Execution, what="it")
    site_id = coordinator.members.site(name).site.site_id
    assert (execution.agreement, execution.version, execution.site_id) == (agreement.id, 1, site_id)
    assert execution.consent_sha256 == agreement.consent.digest
    assert agreement.consent.verified(key.public, Consent, what="it").terms == terms_of(agreement)
    coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    amended_by_both(coordinator, name, key, modes=(Mode.TRAINING, Mode.SUBMIT, Mode.TRAINING))
    executed, issued = coordinator.agreements.execute(name, actor=ACTOR)
    assert (executed.version, executed.amendment, issued) == (2, None, None)
    assert terms_of(executed).modes == (Mode.SUBMIT, Mode.TRAINING)
    assert last_event(coordinator) == (ACTOR, f"version 2 executed for site {site_id}", agreement.id)
    with coordinator.store.read() as reading:
        before = version_of(reading, executed, 1)
        assert (before.terms, before.consent, before.execution) == (
            agreement.terms, agreement.consent, agreement.execution,
        )  # fmt: skip
        assert version_of(reading, executed, 2) == executed
        with pytest.raises(NotFound):
            version_of(reading, executed, 3)


def test_terms_follow_from_the_draft_and_the_parties(coordinator: Coordinator) -> None:
    """A further draft is the next version; one beside an offered amendment is the one after that."""
    name, _, terms = coordinator.offered()
    identity = coordinator.identity
    assert (terms.version, terms.site_name, terms.federation) == (1, name, identity.federation)
    assert terms.coordinator_fingerprint == identity.signing_key.fingerprint
    assert (terms.protocol, terms.protocol_digest) == (identity.protocol.protocol, identity.protocol_digest)
    terms.curator.check()
    again = coordinator.agreements.draft(draft(name, licence="CC0"), actor=ACTOR)
    assert (again.version, terms_of(again).licence, again.curator) == (2, "CC0", "carla")
    name, _, _ = coordinator.executed()
    for version in (2, 3):
        offered, token = coordinator.agreements.amend(draft(name), actor=ACTOR)
        assert offered.amendment is not None
        assert (offered.version, offered.amendment.version, token) == (1, version, None)


def test_days_are_within_a_century_and_in_order(coordinator: Coordinator) -> None:
    """To the moment: the last day is to come, and the first is before it."""
    _, (token, _) = coordinator.members.invite(name := next(NAMES), actor=ACTOR)
    now = coordinator.time()
    for first, last in (
        (None, now), (None, now - TICK), (None, now + CENTURY + TICK), (now - CENTURY - TICK, None),
        (now + TICK, now + TICK), (now + 2 * TICK, now + TICK),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument):
            coordinator.agreements.draft(draft(name, starts_at=first, expires_at=last), actor=ACTOR)
    assert row_of(coordinator, name).state is State.INVITED
    for first, last in ((None, now + TICK), (now - CENTURY, now + CENTURY), (now + TICK, now + 2 * TICK)):
        drafted = coordinator.agreements.draft(draft(name, starts_at=first, expires_at=last), actor=ACTOR)
        assert (drafted.expires_at, terms_of(drafted).starts_at) == (last, first)
    assert coordinator.enrolment.read_agreement(token.secret)[0].expires_at == now + 2 * TICK
    assert coordinator.agreements.agreement(name).state is State.DRAFTED
    coordinator.time.ahead = 2 * TICK
    assert coordinator.agreements.agreement(name).state is State.EXPIRED
    with pytest.raises(AgreementNotExecuted):
        coordinator.enrolment.read_agreement(token.secret)


def test_editions_go_around_the_installed_one(coordinator: Coordinator) -> None:
    """Empty means only that one; any other text is refused."""
    name, _, terms = coordinator.offered()
    installed = coordinator.identity.protocol.edition
    assert terms.editions is not None
    assert (terms.editions.first, terms.editions.signed, terms.editions.last) == (installed,) * 3
    wide = coordinator.agreements.draft(draft(name, editions=f"{installed}-2999.12"), actor=ACTOR)
    editions = terms_of(wide).editions
    assert editions is not None
    assert (editions.first, editions.last) == (installed, "2999.12")
    for text in ("x", "2999.11-2999.12", installed, f"{installed}-"):
        with pytest.raises(InvalidArgument):
            coordinator.agreements.draft(draft(name, editions=text), actor=ACTOR)


def test_an_earlier_site_id_is_kept_for_its_site(coordinator: Coordinator) -> None:
    """It is never issued; one that a site has now is that site's to name, and nobody else's."""
    name, _, _ = coordinator.executed()
    own = coordinator.members.site(name).site.site_id
    assert own is not None
    coordinator.agreements.amend(draft(name, earlier_site_ids=(own, SiteId("345671"))), actor=ACTOR)
    coordinator.members.invite(other := next(NAMES), actor=ACTOR)
    with pytest.raises(InvalidArgument):
        coordinator.agreements.draft(draft(other, earlier_site_ids=(own,)), actor=ACTOR)
    with coordinator.store.begin() as work:
        assert not work.reserve_site_id(SiteId("345671"))


def test_only_a_curator_that_stated_its_recipient_is_named(coordinator: Coordinator) -> None:
    """A researcher is none, nor is one that enrolled before recipients were stated."""
    coordinator.join(Role.RESEARCHER, "rita", SigningKey.generate(), None)
    coordinator.join(Role.CURATOR, "cleo", SigningKey.generate(), generate_identity().recipient)
    with coordinator.store.begin() as work:
        member = work.member(Role.CURATOR, "cleo")
        assert member is not None
        work.put_member(member.model_copy(update={"statement": None}))
        work.put_member(member.model_copy(update={"name": "cato", "recipient": None}))
    coordinator.members.invite(name := next(NAMES), actor=ACTOR)
    for curator in ("rita", "cleo", "cato", "nobody"):
        with pytest.raises(NotFound):
            coordinator.agreements.draft(draft(name, curator=curator), actor=ACTOR)


def test_a_termination_takes_certificates_and_tokens(coordinator: Coordinator) -> None:
    """At once; the SITEID stays the hospital's when it comes back."""
    name, key, secret = coordinator.executed()
    enrolled = coordinator.enrolment.enrol(secret, CSR, enrolment(key, secret), key.public.text)
    unused = coordinator.members.join_token(Role.SITE, name, actor=ACTOR).token.secret
    coordinator.agreements.terminate(name, actor=ACTOR)
    with pytest.raises(TokenExpired):
        coordinator.enrolment.enrol(unused, CSR, enrolment(key, unused), key.public.text)
    with coordinator.store.read() as reading:
        assert all(row.revoked_at for row in reading.certificates(Role.SITE, enrolled.name))
    with pytest.raises(AgreementTransitionInvalid):
        coordinator.agreements.amend(draft(name), actor=ACTOR)
    _, issued = coordinator.agreements.amend(draft(name), reinstate=True, actor=ACTOR)
    assert issued is not None
    terms, _ = coordinator.enrolment.read_agreement(issued.token.secret)
    coordinator.enrolment.sign_agreement(issued.token.secret, consent(key, terms), key.public.text)
    executed, join = coordinator.agreements.execute(name, actor=ACTOR)
    assert (executed.state, coordinator.members.site(name).site.site_id) == (State.EXECUTED, enrolled.name)
    assert join is not None


def test_only_what_was_in_force_is_amended(coordinator: Coordinator) -> None:
    """A draft is drafted again; reinstating is for what ended; an unsigned offer is not countersigned."""
    drafted, _, _ = coordinator.offered()
    running, _, _ = coordinator.executed()
    for name, reinstate in ((drafted, False), (drafted, True), (running, True)):
        with pytest.raises(AgreementTransitionInvalid, match="become reinstated" if reinstate else "become amended"):
            coordinator.agreements.amend(draft(name), reinstate=reinstate, actor=ACTOR)
    with pytest.raises(AgreementTransitionInvalid):
        amended(row_of(coordinator, running), coordinator.time())
    coordinator.agreements.amend(draft(running), actor=ACTOR)
    with pytest.raises(AgreementTransitionInvalid, match="is drafted cannot become executed"):
        coordinator.agreements.execute(running, actor=ACTOR)
    with pytest.raises(AgreementTransitionInvalid):
        amended(row_of(coordinator, running), coordinator.time())
    with pytest.raises(AgreementTransitionInvalid):
        coordinator.agreements.execute(drafted, actor=ACTOR)


def test_what_ended_before_it_was_in_force_has_no_next_version(coordinator: Coordinator) -> None:
    """A draft that nobody signed in time is neither amended nor reinstated: its hospital is invited again."""
    name, _, _ = coordinator.offered(expires_at=coordinator.time() + TICK)
    coordinator.time.ahead = 2 * TICK
    for reinstate in (False, True):
        with pytest.raises(AgreementTransitionInvalid):
            coordinator.agreements.amend(draft(name), reinstate=reinstate, actor=ACTOR)
    assert row_of(coordinator, name).amendment is None


def test_a_next_version_may_name_another_curator(coordinator: Coordinator) -> None:
    """From its countersignature on the agreement is in that one's list, and not in the former one's."""
    coordinator.join(Role.CURATOR, "ciara", SigningKey.generate(), generate_identity().recipient)
    name, key, _ = coordinator.executed()
    amended_by_both(coordinator, name, key, curator="ciara")

    def listed(curator: str) -> set[str]:
        with coordinator.store.read() as reading:
            return {row.site_name for row in reading.agreements(sealed_to=curator)}

    assert (name in listed("carla"), name in listed("ciara")) == (True, False)
    executed, _ = coordinator.agreements.execute(name, actor=ACTOR)
    assert executed.curator == "ciara"
    assert (name in listed("carla"), name in listed("ciara")) == (False, True)


def test_a_hospital_that_has_a_site_id_keeps_it(coordinator: Coordinator) -> None:
    """Its patients are known by it: whatever became of the agreement before, no second one is issued."""
    name, secret, terms = coordinator.offered()
    with coordinator.store.begin() as work:
        work.put_site(site_of(work, name).model_copy(update={"site_id": SiteId("567812")}))
    key = SigningKey.generate()
    coordinator.enrolment.sign_agreement(secret, consent(key, terms), key.public.text)
    coordinator.agreements.execute(name, actor=ACTOR)
    assert coordinator.members.site(name).site.site_id == "567812"


def test_the_next_version_is_countersigned_from_its_first_day_to_before_its_last(coordinator: Coordinator) -> None:
    """To the moment."""
    now = coordinator.time()
    name, key, _ = coordinator.executed()
    amended_by_both(coordinator, name, key, starts_at=now + 2 * TICK, expires_at=now + 4 * TICK)
    offered = row_of(coordinator, name)
    for ahead, error in ((1, AgreementNotBegun), (4, AgreementTransitionInvalid)):
        with pytest.raises(error):
            amended(offered, now + ahead * TICK)
    for ahead in (2, 3):
        following = amended(offered, now + ahead * TICK)
        assert (following.version, following.state, following.execution) == (2, State.EXECUTED, None)


def test_nothing_is_signed_that_was_not_drafted(coordinator: Coordinator) -> None:
    """An agreement without terms has none to sign and none to act under."""
    coordinator.members.invite(name := next(NAMES), actor=ACTOR)
    agreement = row_of(coordinator, name)
    with pytest.raises(AgreementNotExecuted):
        to_sign(agreement, coordinator.time())
    with pytest.raises(AgreementNotExecuted):
        terms_of(agreement)


def test_people_name_sites_and_agreements(coordinator: Coordinator) -> None:
    """By name, SITEID and id; a hospital's name in another case says how it is written."""
    name, _, _ = coordinator.executed()
    agreement, site_id = row_of(coordinator, name), coordinator.members.site(name).site.site_id
    assert site_id is not None
    coordinator.members.invite(invited := next(NAMES), actor=ACTOR)
    with coordinator.store.read() as reading:
        for reference in (name, site_id):
            assert site_of(reading, reference).name == named_site(reading, reference).name == name
        for reference in (name, site_id, agreement.id):
            assert agreement_of(reading, reference) == named_agreement(reading, reference) == agreement
        assert named_site_id(reading, name) == site_id
        assert named_site_id(reading, "765432") == "765432"
        with pytest.raises(NotFound, match="SITEID"):
            named_site_id(reading, invited)
        with pytest.raises(NotFound, match=f"there is `{name}`"):
            named_site(reading, name.upper())
        for stranger in ("Nowhere", "765432"):
            with pytest.raises(NotFound, match=rf"There is no site {stranger}\."):
                named_site(reading, stranger)
            with pytest.raises(NotFound):
                site_of(reading, stranger)
            with pytest.raises(NotFound):
                agreement_of(reading, stranger)
        with pytest.raises(NotFound):
            agreement_of(reading, AgreementId("A-ffffffffffff"))
        assert terms_in_force(reading, site_id, Mode.SUBMIT, coordinator.time()) == terms_of(agreement)
        with pytest.raises(AgreementNotExecuted):
            terms_in_force(reading, agreement_of(reading, invited).id, Mode.SUBMIT, coordinator.time())


def test_a_curator_sees_its_own_agreements_page_by_page(coordinator: Coordinator) -> None:
    """Each once; of those that were executed, with their SITEIDs."""
    coordinator.join(Role.CURATOR, "cesar", SigningKey.generate(), generate_identity().recipient)
    names = []
    for _ in range(3):
        name, secret, terms = coordinator.offered(curator="cesar")
        key = SigningKey.generate()
        coordinator.enrolment.sign_agreement(secret, consent(key, terms), key.public.text)
        coordinator.agreements.execute(name, actor=ACTOR)
        names.append(name)
    coordinator.offered(curator="cesar")
    seen, after = list[str](), ""
    for _ in range(2):
        rows, after = coordinator.agreements.sealed_to("cesar", after=after, limit=2)
        seen += [row.site_name for row in rows]
    assert (sorted(seen), after) == (sorted(names), "")
    whole, more = coordinator.agreements.agreements(sealed_to="cesar", after="", limit=0)
    assert (len(whole), more) == (3, False)
    assert {*coordinator.agreements.site_ids(*whole)} == {*names}
    with pytest.raises(NotFound):
        coordinator.agreements.sealed_to("cesar", after="A-ffffffffffff", limit=2)


def test_a_draft_names_what_it_covers_within_bounds() -> None:
    """At least one mode and one known modality, at most a hundred modalities and earlier SITEIDs."""
    for modalities in ((), ("XY",), ("CT",) * 101):
        with pytest.raises(ValidationError, match="modalities"):
            CheckedScope(description="Chest imaging", modalities=modalities)
    scope = CheckedScope(description="Chest imaging", modalities=("CT",) * 100)
    ids = tuple(SiteId(str(number)) for number in range(300_000, 300_100))
    assert draft("Hospital", scope=scope, earlier_site_ids=ids).earlier_site_ids == ids
    for changes in ({"earlier_site_ids": (*ids, SiteId("300100"))}, {"modes": ()}):
        with pytest.raises(ValidationError, match=next(iter(changes))):
            draft("Hospital", **changes)
