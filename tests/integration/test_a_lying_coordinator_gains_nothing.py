"""A coordinator that answers with another recipient or an older agreement gains nothing, nor does a repeated call."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from shared.agreement import AgreementTerms, Consent
from shared.crypto.keys import load_signing
from shared.crypto.recipients import generate_identity
from shared.errors.agreements import AgreementError, AgreementTextChanged
from shared.errors.trust import SignatureInvalid
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import agreement_pb2, membership_pb2, submission_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.membership_pb2_grpc import MembershipServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.signed import Signed, of_manifest
from shared.wire import connected, from_signed, to_signed
from site_node.home.folder import SiteHome
from site_node.membership.amendment import fetch_countersigned, read_amendment, sign_amendment
from site_node.membership.record import IdentityFiles, load_membership
from tests.factories.federation import Federation, running_federation, sealed_bytes

SIGNATORY = "A. Signatory, Director"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture
def home(federation: Federation, request: pytest.FixtureRequest) -> SiteHome:
    """A new site under the first version, which is offered a second one."""
    name = f"The {request.node.name.replace('_', ' ')} hospital"
    home, _ = federation.site(name.replace("[", " ").replace("]", ""))
    draft = agreement_pb2.DraftAgreementRequest(
        site_name=home.load().name, curator="curator", modes=["submit"], scope="x", modalities=["DX"], licence="CC0"
    )
    with federation.operator() as channel:
        AgreementServiceStub(channel).AmendAgreement(agreement_pb2.AmendAgreementRequest(draft=draft))
    return home


def membership_answer(home: SiteHome) -> membership_pb2.GetMembershipResponse:
    member = load_membership(home)
    with connected(member.addresses.main, member.credentials) as channel:
        return MembershipServiceStub(channel).GetMembership(membership_pb2.GetMembershipRequest())


def answering(patch: pytest.MonkeyPatch, **answers: object) -> None:
    """From now on the coordinator answers the site's questions on its membership so."""
    methods = {method: lambda *_, answer=answer, **__: answer for method, answer in answers.items()}
    patch.setattr("site_node.membership.amendment.MembershipServiceStub", lambda _: SimpleNamespace(**methods))


def identity(home: SiteHome) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.identity.iterdir()}


def own_recipient(terms: AgreementTerms) -> AgreementTerms:
    """The same terms with a recipient of the coordinator's under the curator's fingerprint."""
    return terms.model_copy(
        update={"curator": terms.curator.model_copy(update={"recipient": generate_identity().recipient})}
    )


def test_an_amendment_with_the_coordinators_own_recipient_is_not_shown(
    home: SiteHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that is no later than the version in force, nor one of another agreement: the home is as it was."""
    offered, before = read_amendment(home), identity(home)
    present = load_membership(home).terms
    for terms, error in (
        (own_recipient(offered.terms), SignatureInvalid),
        (present, AgreementTextChanged),
        (offered.terms.model_copy(update={"version": 1}), AgreementTextChanged),
        (offered.terms.model_copy(update={"id": "A-ba9876543210"}), AgreementTextChanged),
    ):
        answer = membership_pb2.ReadAmendmentResponse(terms=canonical_json(terms), text=offered.text)
        answering(monkeypatch, ReadAmendment=answer)
        for step in (read_amendment, lambda home: sign_amendment(home, signatory=SIGNATORY)):
            with pytest.raises(error):
                step(home)
    assert identity(home) == before


def test_no_other_consent_takes_effect(federation: Federation, home: SiteHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older agreement that both sides did sign, or one that names another recipient, under a later number."""
    older = membership_answer(home)
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    federation.execute(home.load().name)
    honest = membership_answer(home)
    consent = from_signed(honest.agreement.consent).verified(load_signing(home.signing_key).public, Consent, what="it")
    forged = Signed.by(
        federation.identity.signing_key, consent.model_copy(update={"terms": own_recipient(consent.terms)})
    )
    before = identity(home)
    for changes in (
        agreement_pb2.Agreement(version=9, consent=older.agreement.consent),
        agreement_pb2.Agreement(version=9, consent=to_signed(forged)),
        agreement_pb2.Agreement(execution=older.agreement.execution),  # the signature under the older version
    ):
        answer = membership_pb2.GetMembershipResponse()
        answer.CopyFrom(honest)
        answer.agreement.MergeFrom(changes)
        answering(monkeypatch, GetMembership=answer)
        with pytest.raises(SignatureInvalid):
            fetch_countersigned(home)
    answering(monkeypatch, GetMembership=older)
    assert fetch_countersigned(home) is None
    assert identity(home) == before
    answering(monkeypatch, GetMembership=honest)
    renewed = fetch_countersigned(home)
    assert renewed is not None
    assert renewed.agreement_version == 2
    answering(monkeypatch, GetMembership=older)
    assert fetch_countersigned(home) is None
    assert load_membership(home).agreement_version == 2


def test_what_was_sent_is_of_no_use_again(federation: Federation, home: SiteHome) -> None:
    """An upload gives the receipt it gave; another member's upload and a consent to an older version are refused."""
    member = load_membership(home)
    _, other = federation.site("The replaying hospital")
    sealed = sealed_bytes(home, member, 1000)
    manifest, ciphertext = to_signed(of_manifest(sealed.manifest)), sealed.ciphertext.read_bytes()
    upload = [
        submission_pb2.UploadRequest(header=submission_pb2.UploadHeader(manifest=manifest)),
        submission_pb2.UploadRequest(chunk=ciphertext),
    ]
    consent = Signed.model_validate_json(IdentityFiles(home).consent.read_bytes())
    with connected(member.addresses.main, member.credentials) as channel:
        first, again = (list(SubmissionServiceStub(channel).Upload(iter(upload)))[-1] for _ in range(2))
    assert again.receipt == first.receipt
    with federation.reading() as reading:
        assert len(reading.submissions(member.site_id)) == 1
        events = len(reading.events(limit=10_000))
    with (
        pytest.raises(SignatureInvalid),
        connected(other.addresses.main, other.credentials) as channel,
    ):
        list(SubmissionServiceStub(channel).Upload(iter(upload)))
    for caller in (member, other):
        with (
            pytest.raises((SignatureInvalid, AgreementError)),
            connected(caller.addresses.main, caller.credentials) as channel,
        ):
            MembershipServiceStub(channel).SignAmendment(
                membership_pb2.SignAmendmentRequest(consent=to_signed(consent))
            )
    with federation.reading() as reading:
        assert reading.submissions(other.site_id) == []
        assert all(event.result.startswith("refused") for event in reading.events(limit=10_000)[events:])
