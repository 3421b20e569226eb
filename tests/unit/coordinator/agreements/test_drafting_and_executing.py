"""What drafting and executing promise."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.agreements.text import agreement_text
from coordinator.home.init import open_home_store
from coordinator.store.folder import CiphertextFolder
from coordinator.store.records import Agreement
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.service import SubmissionService
from shared.agreement import AgreementTerms, State
from shared.agreement_page import terms_page
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.ids import SiteId
from shared.proto.ricord.v1 import agreement_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.signed import of_manifest
from shared.wire import to_timestamp
from site_node.home.folder import init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from tests.factories.federation import Federation, running_federation, sealed_bytes


def test_the_text_is_whole() -> None:
    """The text ships with the package, is plain and names what it must."""
    text = agreement_text()
    for word in ("de-identif", "licence", "withdraw", "curator", "ethics", "terminate", "amendment"):
        assert word in text.lower()
    assert text.isascii()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("drafting")) as running:
        running.curator()
        yield running


def draft(federation: Federation, reference: str, **changes: Any) -> AgreementTerms:
    """The terms of a draft."""
    request = agreement_pb2.DraftAgreementRequest(
        **{
            "site_name": reference,
            "curator": "curator",
            "modes": ["submit"],
            "scope": "Chest imaging",
            "modalities": ["CT"],
            "licence": "CC BY-NC 4.0",
            **changes,
        }
    )
    with federation.operator() as channel:
        answer = AgreementServiceStub(channel).DraftAgreement(request)
    return AgreementTerms.model_validate_json(answer.agreement.terms)


def agreement_of(federation: Federation, name: str) -> Agreement:
    """The row of a site's agreement."""
    with federation.reading() as reading:
        [agreement] = [row for row in reading.agreements() if row.site_name == name]
    return agreement


@pytest.mark.parametrize("seconds", [-(10**9), -1, -62135596800, 253402300800, 2**62])
def test_an_end_that_is_over_or_never_comes_is_refused(federation: Federation, seconds: int) -> None:
    """The agreement stays invited, and its site's name can still be used."""
    federation.invite("Punctual Hospital")
    ends = Timestamp(seconds=seconds)
    with pytest.raises(InvalidArgument):
        draft(federation, "Punctual Hospital", expires_at=ends)
    assert agreement_of(federation, "Punctual Hospital").state is State.INVITED


def test_a_draft_by_id_names_the_hospital(federation: Federation) -> None:
    """What is signed holds the site's name, however the operator called the agreement."""
    federation.invite("Named Hospital")
    agreement = agreement_of(federation, "Named Hospital")
    assert draft(federation, agreement.id).site_name == "Named Hospital"


def test_what_a_draft_may_say_is_signed(federation: Federation) -> None:
    """Ethics reference and earlier SITEIDs reach the site's terms, and a person reads them."""
    site = init_home(federation.folder / "returning", name="Returning Hospital")
    token = federation.invite("Returning Hospital")
    draft(federation, "Returning Hospital", ethics_reference=" EK 12/2026 ", earlier_site_ids=["419639", "234567"])
    read_agreement(site, token)
    sign_agreement(site, token, signatory="A. Signatory, Director")
    terms = enrol(site, federation.execute("Returning Hospital")).terms
    assert (terms.ethics_reference, terms.earlier_site_ids) == ("EK 12/2026", ("419639", "234567"))
    said = " ".join(terms_page(terms).split())
    assert "EK 12/2026" in said
    assert "419639, 234567" in said


def test_an_earlier_site_id_is_nobody_elses(federation: Federation) -> None:
    """One that another site has is refused; one that was named is never issued; one that is none is no SITEID."""
    _, member = federation.site("Holding Hospital")
    federation.invite("Claiming Hospital")
    for wrong in (member.site_id, "12345", "x"):
        with pytest.raises((InvalidArgument, InvalidIdentifier)):
            draft(federation, "Claiming Hospital", earlier_site_ids=["345678", wrong])
    assert agreement_of(federation, "Claiming Hospital").state is State.INVITED
    draft(federation, "Claiming Hospital", earlier_site_ids=["345678"])
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        assert not work.reserve_site_id(SiteId("345678"))
    store.close()


def test_what_was_received_before_the_end_may_be_opened_after_it(federation: Federation) -> None:
    """The curator fetches it; the site sends no more, and after a suspension nothing is handed out."""
    site = init_home(federation.folder / "ending", name="Ending Hospital")
    token = federation.invite("Ending Hospital")
    draft(federation, "Ending Hospital", expires_at=to_timestamp(federation.time() + timedelta(days=2)))
    read_agreement(site, token)
    sign_agreement(site, token, signatory="A. Signatory, Director")
    member = enrol(site, federation.execute("Ending Hospital"))
    store = open_home_store(federation.home, federation.settings)
    folder = CiphertextFolder(federation.folder / "ending-ciphertexts")
    service = SubmissionService(store, folder, federation.identity, federation.time)
    early, late = (sealed_bytes(site, member, 99, sequence=number) for number in (1, 2))
    data = early.ciphertext.read_bytes()
    list(service.receive(member.site_id, of_manifest(early.manifest), 0, [data]))
    [row] = SubmissionLists(store).page(site=member.site_id, curator=None, after=0, limit=0).rows
    federation.time.ahead = timedelta(days=3)
    with pytest.raises(AgreementNotExecuted):
        service.offset(member.site_id, of_manifest(late.manifest))
    assert b"".join(service.fetch("curator", row.id)[1]) == data
    federation.time.ahead = timedelta()
    federation.suspend("Ending Hospital")
    federation.time.ahead = timedelta(days=3)
    with pytest.raises(AgreementNotExecuted):
        service.fetch("curator", row.id)
    federation.time.ahead = timedelta()
    store.close()
