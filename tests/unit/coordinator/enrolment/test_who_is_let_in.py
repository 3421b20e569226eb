"""Who may join, and under which names."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coordinator.agreements.lookup import agreement_of
from coordinator.agreements.service import AgreementService
from coordinator.cli import app
from coordinator.enrolment.members import MemberService
from coordinator.enrolment.service import EnrolmentService
from coordinator.home.identity import Identity, utc_now
from coordinator.home.init import create_federation, open_home_store
from coordinator.home.settings import Home
from coordinator.store.sql import SqlStore
from coordinator.trust import tokens
from coordinator.trust.certificates import is_member_now
from shared.agreement import State
from shared.crypto.keys import load_tls
from shared.crypto.pki import Role, make_csr, serial_of
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.trust import CertificateForeign, TokenExpired, TokenInvalid, TokenUsed
from shared.survey import SurveyAnswer
from shared.token import TokenKind, new_secret
from site_node.membership.enrolment import enrolment_of
from tests.factories.federation import Time, make_settings, running_federation, settings_text

ACTOR = "spiffe://test-federation/coordinator/operator"


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SqlStore, Identity]]:
    settings, home = make_settings(), Home(tmp_path_factory.mktemp("enrolment") / "coordinator")
    identity = create_federation(home, settings, settings_text(settings))
    store = open_home_store(home, settings)
    yield store, identity
    store.close()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def members(coordinator: tuple[SqlStore, Identity], time: Time) -> MemberService:
    return MemberService(*coordinator, time)


@pytest.mark.parametrize("name", ["", "   ", "123456", "x" * 101, "Nul\0 Hospital"])
def test_a_site_needs_a_name_that_is_no_site_id(members: MemberService, name: str) -> None:
    """A name that looks like a SITEID could be looked up as one."""
    with pytest.raises(InvalidArgument):
        members.invite(name, actor=ACTOR)


@pytest.mark.parametrize("name", ["", "two words", "../operator", "a/b", "x" * 64])
def test_a_persons_name_fits_a_certificate(members: MemberService, name: str) -> None:
    """It becomes a part of a SPIFFE URI."""
    with pytest.raises(InvalidArgument):
        members.join_token(Role.CURATOR, name, actor=ACTOR)


def test_nobody_joins_as_coordinator(members: MemberService) -> None:
    """The operator's certificate is made by `init`, never by a token."""
    with pytest.raises(InvalidArgument):
        members.join_token(Role.COORDINATOR, "second", actor=ACTOR)


def test_only_known_sites_get_join_tokens(members: MemberService) -> None:
    """A site joins by invitation and agreement."""
    with pytest.raises(NotFound):
        members.join_token(Role.SITE, "Nowhere Hospital", actor=ACTOR)


def test_only_a_site_with_an_agreement_in_force_gets_a_join_token(members: MemberService) -> None:
    """Another could not enrol with it, and is told so before it is sent."""
    members.invite("Merely Invited Hospital", actor=ACTOR)
    with pytest.raises(AgreementNotExecuted):
        members.join_token(Role.SITE, "Merely Invited Hospital", actor=ACTOR)


def test_a_lost_invitation_is_replaced_until_something_was_signed(
    members: MemberService, coordinator: tuple[SqlStore, Identity]
) -> None:
    """The site stays one site, also after its agreement was terminated without ever being in force."""
    first, _ = members.invite("Forgetful Hospital", actor=ACTOR)
    second, _ = members.invite("  Forgetful   Hospital ", actor=ACTOR)
    assert (second.site, second.state) == (first.site, State.INVITED)
    assert AgreementService(*coordinator).terminate("Forgetful Hospital", actor=ACTOR).state is State.TERMINATED
    again, _ = members.invite("Forgetful Hospital", actor=ACTOR)
    assert (again.site, again.state) == (first.site, State.INVITED)


@pytest.mark.parametrize("other", ["spelled hospital", "SPELLED  HOSPITAL", "\uff33pelled Hospital"])
def test_a_hospital_has_one_spelling(members: MemberService, other: str) -> None:
    """A name that is another site's but for case, width or spaces is that site's or is refused."""
    members.invite("Spelled Hospital", actor=ACTOR)
    with pytest.raises(InvalidArgument, match="`Spelled Hospital`"):
        members.invite(other, actor=ACTOR)


def answer(**changes: Any) -> SurveyAnswer:
    """What a hospital answered."""
    return SurveyAnswer.model_validate(
        {
            "country": "DE",
            "modalities": ("CT",),
            "studies": 500,
            "modes": ("submit",),
            "clinical_data": True,
            "ethics": "applied",
            **changes,
        }
    )


def test_a_survey_makes_hospitals_interested(members: MemberService, coordinator: tuple[SqlStore, Identity]) -> None:
    """New ones are recorded, an answer of a known one is replaced, and its state stays; then they are invited."""
    members.invite("Invited Hospital", actor=ACTOR)
    first = [("Willing Hospital", answer()), ("Invited Hospital", answer(studies=7))]
    assert members.import_survey(first, actor=ACTOR) == (1, 1)
    assert members.import_survey([("Willing Hospital", answer(studies=9))], actor=ACTOR) == (0, 1)
    willing, invited = members.site("Willing Hospital"), members.site("Invited Hospital")
    assert (willing.state, invited.state) == (State.INTERESTED, State.INVITED)
    assert (willing.site.survey, invited.site.survey) == (answer(studies=9), answer(studies=7))
    assert members.invite("Willing Hospital", actor=ACTOR)[0].state is State.INVITED
    assert members.site("Willing Hospital").site.survey == answer(studies=9)


@pytest.mark.parametrize("bad", ["", "123456", "x" * 101, "good hospital 1", "Good Hospital 1"])
def test_a_survey_is_imported_whole_or_not_at_all(members: MemberService, bad: str) -> None:
    """A row that is wrong is named, and no other is recorded."""
    before = members.sites(after="", limit=0)
    rows = [(f"Good Hospital {number}", answer()) for number in range(3)]
    with pytest.raises(InvalidArgument, match="Answer 4"):
        members.import_survey([*rows, (bad, answer()), ("Good Hospital 5", answer())], actor=ACTOR)
    assert members.sites(after="", limit=0) == before


def test_of_many_users_of_a_token_one_succeeds(
    members: MemberService, coordinator: tuple[SqlStore, Identity], time: Time
) -> None:
    """However close together they come."""
    token, _ = members.join_token(Role.RESEARCHER, "rita", actor=ACTOR)
    outcomes: list[str] = []

    def use() -> None:
        try:
            with coordinator[0].begin() as work:
                tokens.use(work, token.secret, kind=TokenKind.JOIN, now=time())
        except RicordError as error:
            outcomes.append(error.code)
        else:
            outcomes.append("in")

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in"] + ["token-used"] * 5


def test_a_token_is_good_for_its_kind_and_its_time(
    members: MemberService, coordinator: tuple[SqlStore, Identity], time: Time
) -> None:
    """To the second; and a secret that was never issued is invalid."""
    token, ends = members.join_token(Role.RESEARCHER, "rosa", actor=ACTOR)
    with coordinator[0].begin() as work:
        with pytest.raises(TokenInvalid):
            tokens.check(work, token.secret, kind=TokenKind.INVITATION, now=time())
        with pytest.raises(TokenInvalid):
            tokens.check(work, new_secret(), kind=TokenKind.JOIN, now=time())
        with pytest.raises(TokenExpired):
            tokens.check(work, token.secret, kind=TokenKind.JOIN, now=ends)
        tokens.use(work, token.secret, kind=TokenKind.JOIN, now=ends - timedelta(seconds=1))
        with pytest.raises(TokenUsed):
            tokens.check(work, token.secret, kind=TokenKind.JOIN, now=time())


@pytest.mark.parametrize("role", [Role.SITE, Role.CURATOR, Role.RESEARCHER])
def test_no_token_outlives_a_revocation(
    members: MemberService, coordinator: tuple[SqlStore, Identity], time: Time, role: Role
) -> None:
    """One issued before is refused; one issued after it lets in again; other members keep theirs."""
    names = [f"{role}-of-late", f"{role}-beside"]
    invited = [members.invite(name, actor=ACTOR)[1] for name in names] if role is Role.SITE else []
    if role is Role.SITE:
        with coordinator[0].begin() as work:
            for name in names:
                work.put_agreement(agreement_of(work, name).model_copy(update={"state": State.EXECUTED}))
    before, beside = (members.join_token(role, name, actor=ACTOR).token for name in names)
    expected = 2 if role is Role.SITE else 1
    assert members.revoke(role, names[0], actor=ACTOR) == (0, expected)
    after = members.join_token(role, names[0], actor=ACTOR).token
    with coordinator[0].read() as reading:
        for token in (after, beside):
            tokens.check(reading, token.secret, kind=TokenKind.JOIN, now=time())
        with pytest.raises(TokenExpired):
            tokens.check(reading, before.secret, kind=TokenKind.JOIN, now=time())
        for issued in invited[:1]:
            with pytest.raises(TokenExpired):
                tokens.check(reading, issued.token.secret, kind=TokenKind.INVITATION, now=time())


def test_a_termination_cancels_tokens(
    members: MemberService, coordinator: tuple[SqlStore, Identity], time: Time
) -> None:
    """Nobody reads or joins with one of a hospital that left."""
    _, (token, _) = members.invite("Parting Hospital", actor=ACTOR)
    AgreementService(*coordinator).terminate("Parting Hospital", actor=ACTOR)
    with coordinator[0].read() as reading, pytest.raises(TokenExpired):
        tokens.check(reading, token.secret, kind=TokenKind.INVITATION, now=time())


@pytest.mark.parametrize("role", [Role.SITE, Role.CURATOR, Role.RESEARCHER, Role.COORDINATOR])
def test_nobody_unknown_is_revoked(members: MemberService, coordinator: tuple[SqlStore, Identity], role: Role) -> None:
    """A name that was mistyped is refused, and nothing is said to have been done."""
    with pytest.raises(NotFound):
        members.revoke(role, "anne", actor=ACTOR)
    with coordinator[0].read() as reading:
        assert not [event for event in reading.events() if event.object.endswith("/anne")]


def test_the_store_holds_no_secret(
    members: MemberService, coordinator: tuple[SqlStore, Identity], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Reading the database is not enough to join."""
    _, (token, _) = members.invite("Quiet Hospital", actor=ACTOR)
    folder = Path(str(coordinator[0]._engine.url.database)).parent
    assert all(token.secret.encode() not in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_a_renewal_under_way_does_not_outlive_a_revocation(tmp_path: Path) -> None:
    """A call passes the access check, then every certificate is revoked: no new one is issued."""
    with running_federation(tmp_path) as federation:
        federation.curator()
        home, member = federation.site("Renewing Hospital")
        store = open_home_store(federation.home, federation.settings)
        csr, serial = make_csr(load_tls(home.tls_key)), serial_of(member.certificate.read_bytes())
        service, members = EnrolmentService(store, federation.identity), MemberService(store, federation.identity)
        signed = enrolment_of(home.signing_key, csr, token=None)
        service.renew(Role.SITE, member.site_id, csr, signed, serial=serial)
        assert members.revoke(Role.SITE, member.site_id, actor=ACTOR) == (2, 0)
        with pytest.raises(CertificateForeign):
            service.renew(Role.SITE, member.site_id, csr, signed, serial=serial)
        with store.read() as reading:
            assert not is_member_now(reading, Role.SITE, member.site_id, utc_now())
        store.close()


def test_renewals_are_bounded(tmp_path: Path) -> None:
    """So many a day, and again the day after; neither a refused one nor its certificate is kept."""
    with running_federation(tmp_path) as federation:
        federation.curator()
        home, member = federation.site("Hasty Hospital")
        store = open_home_store(federation.home, federation.settings)
        csr, serial = make_csr(load_tls(home.tls_key)), serial_of(member.certificate.read_bytes())
        service = EnrolmentService(store, federation.identity, federation.time)
        signed = enrolment_of(home.signing_key, csr, token=None)
        for _ in range(4):
            service.renew(Role.SITE, member.site_id, csr, signed, serial=serial)
        with pytest.raises(InvalidArgument, match="within a day"):
            service.renew(Role.SITE, member.site_id, csr, signed, serial=serial)
        with store.read() as reading:
            assert len(reading.certificates(Role.SITE, member.site_id)) == 5
            assert sum(event.action == "certificate renewed" for event in reading.events()) == 4
        federation.time.ahead = timedelta(days=1, seconds=1)
        service.renew(Role.SITE, member.site_id, csr, signed, serial=serial)
        store.close()


def test_every_hospital_is_listed_however_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites and agreements come in pages, which the commands put together."""
    monkeypatch.setattr("coordinator.enrolment.members.PAGE", 2)
    monkeypatch.setattr("coordinator.agreements.service.PAGE", 2)
    names = [f"Hospital {letter}" for letter in "abcde"]
    with running_federation(tmp_path) as federation:
        for name in reversed(names):
            federation.invite(name)
        for noun, column in (("site", "name"), ("agreement", "site_name")):
            command = ["--home", str(federation.home.folder), noun, "list", "--json"]
            assert [row[column] for row in json.loads(CliRunner().invoke(app, command).output)] == names
