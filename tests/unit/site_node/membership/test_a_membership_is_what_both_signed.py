"""A membership holds only what the site and the coordinator of its agreement both signed, whole and for each other."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from shared.agreement import AgreementTerms, Consent, Execution, Mode
from shared.crypto.keys import load_signing
from shared.crypto.recipients import generate_identity
from shared.crypto.signing import SigningKey, VerifyKey
from shared.editions import ProtocolEdition
from shared.errors.agreements import AgreementNotExecuted, AgreementTextChanged
from shared.errors.protocol import EditionNotCovered
from shared.errors.trust import CertificateForeign, ClockWrong, NotEnrolled, SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.signed import Signed
from shared.token import Token, TokenKind
from shared.wire import to_signed
from site_node.home.folder import SiteHome, init_home
from site_node.membership import amendment, enrolment
from site_node.membership.agreement import sign_agreement
from site_node.membership.amendment import fetch_countersigned, read_amendment, sign_amendment
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import checked_offer
from site_node.membership.record import (
    IdentityFiles,
    Membership,
    MembershipFile,
    SignedAgreement,
    curator_keys,
    load_membership,
    membership_of,
)
from tests.factories.federation import Federation, running_federation

OTHERS: dict[str, Any] = {
    "agreement": AgreementId("A-ba9876543210"),
    "version": 9,
    "consent_sha256": Sha256("0" * 64),
    "site_id": SiteId("999999"),
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def enrolled(federation: Federation) -> SiteHome:
    return federation.site("Careful Hospital")[0]


@pytest.fixture
def home(enrolled: SiteHome, tmp_path: Path) -> SiteHome:
    """A copy of the enrolled home."""
    shutil.copytree(enrolled.folder, tmp_path / "home")
    return SiteHome(tmp_path / "home")


def put_together(
    federation: Federation, home: SiteHome, *, terms: dict[str, Any], execution: dict[str, Any], file: dict[str, Any]
) -> Membership:
    """The home's membership with changes, for which site and coordinator have signed again."""
    files, own = IdentityFiles(home), load_signing(home.signing_key)
    agreement = SignedAgreement.model_validate_json(files.agreement.read_bytes())
    before = agreement.consent.unsafe_parsed(Consent, what="it")
    consent = Signed.by(own, before.model_copy(update={"terms": before.terms.model_copy(update=terms)}))
    executed = agreement.execution.unsafe_parsed(Execution, what="it")
    changes = {"consent_sha256": consent.digest, **execution}
    execution_again = Signed.by(federation.identity.signing_key, executed.model_copy(update=changes))
    membership_file = MembershipFile.model_validate_json(files.membership.read_bytes()).model_copy(update=file)
    again = SignedAgreement(consent=consent, execution=execution_again)
    return membership_of(home, membership_file, again, own.public)


def test_what_fits_is_a_membership(federation: Federation, home: SiteHome) -> None:
    """The one that the home holds."""
    assert put_together(federation, home, terms={}, execution={}, file={}) == load_membership(home)


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_the_coordinator_countersigns_these_terms_and_no_other(
    federation: Federation, home: SiteHome, name: str
) -> None:
    """Its signature over another agreement, version, consent or site is none over this."""
    with pytest.raises(SignatureInvalid, match="countersignature"):
        put_together(federation, home, terms={}, execution={name: OTHERS[name]}, file={})


@pytest.mark.parametrize(
    ("terms", "file"),
    [
        ({"federation": "other"}, {}),
        ({"coordinator_fingerprint": "SHA256:other"}, {}),
        ({}, {"federation": "other"}),
        ({}, {"site_id": SiteId("999999")}),
        ({}, {"coordinator_verify_key": SigningKey.generate().public.text}),
        ({}, {"coordinator_verify_key": "no key"}),
    ],
)
def test_file_and_terms_name_one_federation_and_coordinator(
    federation: Federation, home: SiteHome, terms: dict[str, Any], file: dict[str, Any]
) -> None:
    """Whichever of them was changed."""
    with pytest.raises(SignatureInvalid):
        put_together(federation, home, terms=terms, execution={}, file=file)


def test_no_recipient_but_the_curators_own(federation: Federation, home: SiteHome) -> None:
    """Also where site and coordinator have signed another."""
    curator = load_membership(home).terms.curator.model_copy(update={"recipient": generate_identity().recipient})
    with pytest.raises(SignatureInvalid):
        put_together(federation, home, terms={"curator": curator}, execution={}, file={})


@pytest.mark.parametrize("name", ["agreement.json", "membership.json"])
def test_a_file_that_is_away_or_damaged_is_no_membership(home: SiteHome, name: str) -> None:
    """What is away was never enrolled; what does not parse was changed."""
    (home.identity / name).write_text("{")
    with pytest.raises(SignatureInvalid):
        load_membership(home)
    (home.identity / name).unlink()
    with pytest.raises(NotEnrolled):
        load_membership(home)


def test_terms_and_text_are_offered_together(enrolled: SiteHome) -> None:
    """Another text, and terms that are none, are refused."""
    terms, text = load_membership(enrolled).terms, IdentityFiles(enrolled).text.read_text()
    assert checked_offer(canonical_json(terms), text).terms == terms
    for document, offered in ((canonical_json(terms), f"{text} "), (b"{}", text)):
        with pytest.raises(AgreementTextChanged):
            checked_offer(document, offered)


@pytest.mark.parametrize(
    ("changes", "is_next"),
    [
        ({"version": 2}, True),
        ({"version": 7}, True),
        ({"version": 1}, False),
        ({"version": 2, "id": AgreementId("A-ba9876543210")}, False),
        ({"version": 2, "federation": "other"}, False),
        ({"version": 2, "coordinator_fingerprint": "SHA256:other"}, False),
    ],
)
def test_a_member_is_offered_a_next_version_of_its_agreement(
    home: SiteHome, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], is_next: bool
) -> None:
    """Of the same agreement, federation and coordinator; anything else is neither kept to be signed nor signed."""
    files = IdentityFiles(home)
    draft, terms = files.draft.read_bytes(), load_membership(home).terms.model_copy(update=changes)
    answer = SimpleNamespace(terms=canonical_json(terms), text=files.text.read_text())
    stub = SimpleNamespace(ReadAmendment=lambda *_, **__: answer, SignAmendment=Mock())
    monkeypatch.setattr(amendment, "member_channel", lambda _: nullcontext())
    monkeypatch.setattr(amendment, "MembershipServiceStub", lambda _: stub)
    if is_next:
        assert read_amendment(home).terms == sign_amendment(home, signatory="A. Signatory, Director") == terms
    else:
        for way in (read_amendment, partial(sign_amendment, signatory="A. Signatory, Director")):
            with pytest.raises(AgreementTextChanged):
                way(home)
        assert files.draft.read_bytes() == draft
    assert stub.SignAmendment.called == is_next


@pytest.mark.parametrize(("version", "executed"), [(1, True), (2, False), (3, False)])
def test_nothing_changes_before_a_next_version_is_countersigned(
    home: SiteHome, monkeypatch: pytest.MonkeyPatch, version: int, executed: bool
) -> None:
    """Whatever number the coordinator names."""
    before = load_membership(home)
    agreement = pb.Agreement(version=version, execution=to_signed(Signed(document="{}", signature="c2ln")))
    if not executed:
        agreement.ClearField("execution")
    stub = SimpleNamespace(GetMembership=lambda *_, **__: SimpleNamespace(agreement=agreement))
    monkeypatch.setattr(amendment, "member_channel", lambda _: nullcontext())
    monkeypatch.setattr(amendment, "MembershipServiceStub", lambda _: stub)
    assert fetch_countersigned(home) is None
    assert load_membership(home) == before


def test_a_next_version_leaves_the_one_that_it_replaces(
    federation: Federation, home: SiteHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the keys of its curator are known as long as it has studies."""
    files, own, before = IdentityFiles(home), load_signing(home.signing_key), load_membership(home)
    replaced = files.agreement.read_bytes()
    agreement = SignedAgreement.model_validate_json(replaced)
    terms = before.terms.model_copy(update={"version": 2})
    consent = Signed.by(own, agreement.consent.unsafe_parsed(Consent, what="it").model_copy(update={"terms": terms}))
    executed = agreement.execution.unsafe_parsed(Execution, what="it")
    execution = executed.model_copy(update={"version": 2, "consent_sha256": consent.digest})
    files.consent.write_bytes(canonical_json(consent))
    countersigned = to_signed(Signed.by(federation.identity.signing_key, execution))
    answer = pb.Agreement(version=2, consent=to_signed(consent), execution=countersigned)
    stub = SimpleNamespace(GetMembership=lambda *_, **__: SimpleNamespace(agreement=answer))
    monkeypatch.setattr(amendment, "member_channel", lambda _: nullcontext())
    monkeypatch.setattr(amendment, "MembershipServiceStub", lambda _: stub)
    assert fetch_countersigned(home) == load_membership(home) == before.model_copy(update={"terms": terms})
    assert files.replaced(1).read_bytes() == replaced


def signed_home(federation: Federation, name: str) -> tuple[SiteHome, str]:
    home = federation.signed_site(name)
    return home, federation.execute(name)


def refused(home: SiteHome, token: str, error: type[Exception], patch: Callable[[pytest.MonkeyPatch], None]) -> None:
    """An enrolment fails, and leaves the identity as it was."""
    before = {path: path.read_bytes() for path in home.identity.iterdir()}
    with pytest.MonkeyPatch.context() as context:
        patch(context)
        with pytest.raises(error):
            enrol(home, token)
    assert {path: path.read_bytes() for path in home.identity.iterdir()} == before


def test_by_a_wrong_clock_no_token_is_used_up(federation: Federation) -> None:
    """The site enrols with it once the clock is set."""
    home, token = signed_home(federation, "Late Hospital")

    def wrong(_: object) -> None:
        raise ClockWrong(says="noon", evidence="it is midnight")

    refused(home, token, ClockWrong, lambda patch: patch.setattr(enrolment, "check_clock", wrong))
    assert enrol(home, token).site_id


def test_who_has_signed_nothing_here_cannot_enrol(federation: Federation) -> None:
    """A home without its own consent, or with another than the coordinator holds."""
    home, token = signed_home(federation, "Forgetful Hospital")
    answer = enrolment._ask(home, Token.parse(token, kind=TokenKind.JOIN))
    file = IdentityFiles(home).consent
    consent, own = Signed.model_validate_json(file.read_bytes()), load_signing(home.signing_key)
    other = consent.unsafe_parsed(Consent, what="it").model_copy(update={"signatory": "B. Other, Director"})
    file.write_bytes(canonical_json(Signed.by(own, other)))
    refused(home, token, SignatureInvalid, lambda patch: patch.setattr(enrolment, "_ask", lambda *_: answer))
    file.unlink()
    refused(home, token, AgreementNotExecuted, lambda patch: patch.setattr(enrolment, "_ask", lambda *_: answer))


def test_a_certificate_of_another_role_is_no_sites(federation: Federation) -> None:
    """The coordinator cannot enrol a site as its curator."""
    home, token = signed_home(federation, "Mistaken Hospital")
    answer = enrolment._ask(home, Token.parse(token, kind=TokenKind.JOIN))
    [certificate] = (federation.folder / "curator-curator").rglob("certificate.pem")
    answer.certificate = certificate.read_bytes()
    refused(home, token, CertificateForeign, lambda patch: patch.setattr(enrolment, "_ask", lambda *_: answer))


def test_nothing_is_signed_that_was_not_read(federation: Federation, tmp_path: Path) -> None:
    """Nor by a member what another federation offers."""
    home = init_home(tmp_path / "home", name="Hasty Hospital")
    token = federation.invite("Hasty Hospital")
    federation.draft("Hasty Hospital")
    with pytest.raises(AgreementTextChanged):
        sign_agreement(home, token, signatory="A. Signatory, Director")
    assert not IdentityFiles(home).consent.exists()
    IdentityFiles(home).root.parent.mkdir(exist_ok=True)
    IdentityFiles(home).root.write_bytes(b"another root")
    with pytest.raises(CertificateForeign):
        sign_agreement(home, token, signatory="A. Signatory, Director")


def test_the_curators_keys_are_those_of_every_version(home: SiteHome) -> None:
    """The present one first, then those before it, the latest first; a version that was never in force has none."""
    membership, files, own = load_membership(home), IdentityFiles(home), load_signing(home.signing_key)
    agreement = SignedAgreement.model_validate_json(files.agreement.read_bytes())
    keys = {version: SigningKey.generate().public for version in (1, 2, 4, 5)}

    def terms_with(version: int) -> AgreementTerms:
        curator = membership.terms.curator.model_copy(update={"verify_key": keys[version].text})
        return membership.terms.model_copy(update={"version": version, "curator": curator})

    for version in (1, 2, 4):
        consent = agreement.consent.unsafe_parsed(Consent, what="it").model_copy(update={"terms": terms_with(version)})
        replaced = agreement.model_copy(update={"consent": Signed.by(own, consent)})
        files.replaced(version).write_bytes(canonical_json(replaced))
    present = membership.model_copy(update={"terms": terms_with(5)})
    assert curator_keys(home, present) == tuple(keys[version] for version in (5, 4, 2, 1))
    forged = Signed.by(SigningKey.generate(), agreement.consent.unsafe_parsed(Consent, what="it"))
    files.replaced(2).write_bytes(canonical_json(agreement.model_copy(update={"consent": forged})))
    with pytest.raises(SignatureInvalid):
        curator_keys(home, present)


def test_an_agreement_covers_its_edition_and_its_modes(enrolled: SiteHome) -> None:
    """Sending studies is no federated work; an edition that was not agreed is refused."""
    membership = load_membership(enrolled)
    assert set(membership.federated_modes) == set(membership.modes) - {Mode.SUBMIT}
    assert isinstance(membership.coordinator_key, VerifyKey)
    agreed = ProtocolEdition(protocol="ricord", edition="2099.1", digest=membership.protocol_digest)
    membership.check_covers(agreed)
    with pytest.raises(EditionNotCovered):
        membership.check_covers(agreed.model_copy(update={"digest": Sha256("0" * 64)}))
