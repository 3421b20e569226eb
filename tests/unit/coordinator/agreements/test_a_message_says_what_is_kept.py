"""What a coordinator or a curator hears of an agreement is what is kept of it, at every step and on every page."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from coordinator.agreements.lifecycle import terms_of
from coordinator.agreements.servicer import AgreementServicer
from coordinator.agreements.text import agreement_text
from shared.agreement import AgreementTerms, Mode
from shared.crypto.pki import Role
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.token import Token, TokenKind
from shared.wire import from_signed, from_timestamp, to_timestamp
from tests.factories.callers import call_by
from tests.factories.parties import ACTOR, NAMES, Coordinator, consent, founded

OPERATOR = call_by(Role.COORDINATOR, "operator")


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordinator]:
    with founded(tmp_path_factory.mktemp("telling")) as parties:
        yield parties


@pytest.fixture
def servicer(coordinator: Coordinator) -> AgreementServicer:
    return AgreementServicer(coordinator.agreements)


def request(name: str, **changes: Any) -> pb.DraftAgreementRequest:
    fields = {"site_name": name, "curator": "carla", "modes": ["submit"], "scope": "Chest imaging"}
    return pb.DraftAgreementRequest(**{**fields, "modalities": ["CT"], "licence": "CC BY 4.0", **changes})


def executed(coordinator: Coordinator, **changes: Any) -> str:
    """The name of a hospital whose agreement both sides signed."""
    name, secret, terms = coordinator.offered(**changes)
    key = SigningKey.generate()
    coordinator.enrolment.sign_agreement(secret, consent(key, terms), key.public.text)
    coordinator.agreements.execute(name, actor=ACTOR)
    return name


def shown_as_kept(coordinator: Coordinator, name: str) -> tuple[pb.Agreement, set[str]]:
    """An agreement as it is shown, after comparing it with the row; and which of its fields are there."""
    answer = AgreementServicer(coordinator.agreements).GetAgreement(pb.GetAgreementRequest(reference=name), OPERATOR)
    assert answer.text == agreement_text()
    row, message = coordinator.agreements.agreement(name), answer.agreement
    assert (message.id, message.site_name, message.version) == (row.id, name, row.version)
    assert pb.AgreementState.Name(message.state) == f"AGREEMENT_STATE_{row.state.name}"
    assert from_timestamp(message.changed_at) == row.changed_at
    assert message.terms.decode() == (row.terms or "")
    assert message.attachment == (row.attachment or "")
    assert (from_signed(message.consent) if message.HasField("consent") else None) == row.consent
    assert (from_signed(message.execution) if message.HasField("execution") else None) == row.execution
    return message, {field.name for field, _ in message.ListFields()} - {"id", "site_name", "state", "changed_at"}


def test_an_agreement_is_shown_as_far_as_it_has_come(coordinator: Coordinator, servicer: AgreementServicer) -> None:
    """What was not said yet is absent; the rest is there, whole, whoever answers."""
    shown = partial(shown_as_kept, coordinator)

    coordinator.members.invite(name := next(NAMES), actor=ACTOR)
    assert shown(name)[1] == set()
    drafted = servicer.DraftAgreement(request(name), OPERATOR).agreement
    _, (token, _) = coordinator.members.invite(name, actor=ACTOR)
    message, fields = shown(name)
    assert (message, fields) == (drafted, {"version", "terms"})
    terms, _ = coordinator.enrolment.read_agreement(token.secret)
    key = SigningKey.generate()
    coordinator.enrolment.sign_agreement(token.secret, consent(key, terms), key.public.text)
    assert shown(name)[1] == {"version", "terms", "consent"}
    answer = servicer.ExecuteAgreement(pb.ExecuteAgreementRequest(reference=name), OPERATOR)
    message, fields = shown(name)
    assert (message, fields) == (answer.agreement, {"version", "terms", "consent", "execution", "site_id"})
    site_id = message.site_id
    assert answer.token
    assert from_timestamp(answer.token_expires_at) > coordinator.time()
    attach = pb.AttachDocumentRequest(reference=name, sha256="1" * 64)
    assert servicer.AttachDocument(attach, OPERATOR).agreement.attachment == "1" * 64
    offer = pb.AmendAgreementRequest(draft=request(name, licence="CC0"))
    amending = servicer.AmendAgreement(offer, OPERATOR)
    assert (amending.token, amending.HasField("token_expires_at")) == ("", False)
    message, fields = shown(name)
    assert "amendment_consent" not in fields
    following = AgreementTerms.model_validate_json(message.amendment_terms)
    assert (following.version, following.licence) == (2, "CC0")
    signed = consent(key, following)
    coordinator.enrolment.sign_amendment(SiteId(site_id), signed)
    assert from_signed(shown(name)[0].amendment_consent) == signed
    answer = servicer.ExecuteAgreement(pb.ExecuteAgreementRequest(reference=name), OPERATOR)
    assert (answer.token, answer.HasField("token_expires_at"), answer.agreement.version) == ("", False, 2)
    assert shown(name)[1] == {"version", "terms", "consent", "execution", "site_id"}
    suspended = servicer.SuspendAgreement(pb.SuspendAgreementRequest(reference=name), OPERATOR).agreement
    assert suspended == shown(name)[0]
    ended = servicer.TerminateAgreement(pb.TerminateAgreementRequest(reference=name), OPERATOR).agreement
    assert ended == shown(name)[0]


def test_a_reinstated_hospital_gets_an_invitation(coordinator: Coordinator, servicer: AgreementServicer) -> None:
    """And keeps its SITEID."""
    name = executed(coordinator)
    site_id = shown_as_kept(coordinator, name)[0].site_id
    coordinator.agreements.terminate(name, actor=ACTOR)
    again = servicer.AmendAgreement(pb.AmendAgreementRequest(draft=request(name), reinstate=True), OPERATOR)
    assert (
        coordinator.enrolment.read_agreement(Token.parse(again.token, kind=TokenKind.INVITATION).secret)[0].version == 2
    )
    assert from_timestamp(again.token_expires_at) > coordinator.time()
    assert shown_as_kept(coordinator, name)[0].site_id == site_id


def test_a_list_is_read_page_by_page(coordinator: Coordinator, servicer: AgreementServicer) -> None:
    """Each agreement once, as it is shown by itself; the last page names nothing after it."""
    for _ in range(2):
        executed(coordinator)
    coordinator.members.invite(next(NAMES), actor=ACTOR)
    with coordinator.store.read() as reading:
        names = [row.site_name for row in reading.agreements()]
    seen, after = list[pb.Agreement](), ""
    for _ in names:
        page = servicer.ListAgreements(pb.ListAgreementsRequest(after=after, limit=1), OPERATOR)
        after = page.next
        assert [after] == [agreement.site_name for agreement in page.agreements] or not after
        seen += page.agreements
    assert after == ""
    assert sorted(agreement.site_name for agreement in seen) == sorted(names)
    for agreement in seen:
        alone = servicer.GetAgreement(pb.GetAgreementRequest(reference=agreement.id), OPERATOR)
        assert alone.agreement == agreement


def test_a_curator_hears_what_it_may_know(coordinator: Coordinator, servicer: AgreementServicer) -> None:
    """Of each agreement that seals to it: id, SITEID, state, scope, licence and last day, and no hospital's name."""
    coordinator.join(Role.CURATOR, "cyrus", SigningKey.generate(), generate_identity().recipient)
    ends = coordinator.time().replace(microsecond=0) + timedelta(days=9)
    names = [executed(coordinator, curator="cyrus", expires_at=day) for day in (None, ends)]
    executed(coordinator)
    cyrus = call_by(Role.CURATOR, "cyrus")
    [first] = (page := servicer.ListSealedAgreements(pb.ListSealedAgreementsRequest(limit=1), cyrus)).agreements
    [second] = (
        rest := servicer.ListSealedAgreements(pb.ListSealedAgreementsRequest(after=page.next), cyrus)
    ).agreements
    assert rest.next == ""
    site_ids = coordinator.agreements.site_ids(*(coordinator.agreements.agreement(name) for name in names))
    for message, name, day in zip((first, second), sorted(names), (None, ends), strict=True):
        row = coordinator.agreements.agreement(name)
        terms = terms_of(row)
        assert (message.id, message.site_id, message.version) == (row.id, site_ids[name], 1)
        assert message.state == pb.AGREEMENT_STATE_EXECUTED
        assert (message.scope, list(message.modalities)) == (terms.scope.description, ["CT"])
        assert message.licence == terms.licence
        assert (from_timestamp(message.expires_at) if message.HasField("expires_at") else None) == day
        assert name not in str(message)


def test_terms_are_as_the_operator_said(coordinator: Coordinator, servicer: AgreementServicer) -> None:
    """Every field of a draft, and the absent ones as absent."""
    coordinator.members.invite(name := next(NAMES), actor=ACTOR)
    plain = servicer.DraftAgreement(request(name), OPERATOR).agreement
    terms = AgreementTerms.model_validate_json(plain.terms)
    assert (terms.starts_at, terms.expires_at, terms.scope.studies, terms.ethics_reference) == (None, None, None, "")
    begins = coordinator.time().replace(microsecond=0) + timedelta(days=1)
    full = request(
        name,
        modes=["training", "submit"],
        studies=1,
        data_elements=["images"],
        locations=["Bonn"],
        ethics_reference="EK 1",
        earlier_site_ids=["456781"],
        starts_at=to_timestamp(begins),
        expires_at=to_timestamp(begins + timedelta(days=1)),
    )
    terms = AgreementTerms.model_validate_json(servicer.DraftAgreement(full, OPERATOR).agreement.terms)
    assert terms.modes == (Mode.SUBMIT, Mode.TRAINING)
    assert (terms.starts_at, terms.expires_at) == (begins, begins + timedelta(days=1))
    scope = terms.scope
    assert (scope.studies, scope.data_elements, scope.locations) == (1, ("images",), ("Bonn",))
    assert (terms.ethics_reference, terms.earlier_site_ids) == ("EK 1", ("456781",))


@pytest.mark.parametrize(
    ("changes", "name", "problem"),
    [
        ({"modes": []}, "modes", "tuple should have at least 1 item after validation, not 0"),
        ({"modes": ["fly"]}, "modes", "choose from cohort, submit, statistics, training"),
        ({"modalities": ["XY"]}, "modalities", "X"),
        ({"earlier_site_ids": ["x"]}, "earlier_site_ids", "each is a SITEID, a number of six digits"),
        ({"licence": ""}, "licence", ""),
    ],
)
def test_a_wrong_field_is_named(servicer: AgreementServicer, changes: dict[str, Any], name: str, problem: str) -> None:
    """With what is wrong with it, as the end of a sentence."""
    with pytest.raises(InvalidArgument) as refusal:
        servicer.DraftAgreement(request("Hospital", **changes), OPERATOR)
    assert refusal.value.fields["name"] == name
    said = refusal.value.fields["problem"]
    assert problem in said
    assert said[0].islower()
    assert not said.startswith("value error")
