"""An agreement that is in force, or was, goes on under a next version that both sides sign."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from coordinator.curation.fetching import fetching
from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome
from coordinator.store.audit_chain import AuditEvent
from coordinator.store.interface import Reading
from shared.agreement import State
from shared.errors.agreements import (
    AgreementNotBegun,
    AgreementNotExecuted,
    AgreementTerminated,
    AgreementTextChanged,
    AgreementTransitionInvalid,
)
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, InvalidIdentifier, NotFound
from shared.errors.trust import SignatureInvalid
from shared.member import renew_if_due
from shared.proto.ricord.v1 import agreement_pb2 as pb
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.protocol.loader import load_protocol
from shared.wire import to_timestamp
from site_node.home.folder import SiteHome, init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.amendment import fetch_countersigned, read_amendment, sign_amendment
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from site_node.membership.record import load_membership
from site_node.membership.renewal import member_of, standing
from site_node.submit.client import submitting
from tests.factories.federation import Federation, running_federation, sealed_study

SIGNATORY = "A. Signatory, Director"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("amending")) as running:
        running.curator()
        yield running


@pytest.fixture(autouse=True)
def clock_reset(federation: Federation) -> Iterator[None]:
    yield
    federation.time.ahead = timedelta()


def request(name: str, **changes: Any) -> pb.DraftAgreementRequest:
    """Terms of a whole draft."""
    return pb.DraftAgreementRequest(
        **{
            "site_name": name,
            "curator": "curator",
            "modes": ["submit"],
            "scope": "Chest imaging",
            "modalities": ["CT"],
            "licence": "CC BY-NC 4.0",
            **changes,
        }
    )


def amend(federation: Federation, name: str, *, reinstate: bool = False, **changes: Any) -> str:
    """The invitation token of a next version, empty unless it reinstates."""
    with federation.operator() as channel:
        amendment = pb.AmendAgreementRequest(draft=request(name, **changes), reinstate=reinstate)
        return AgreementServiceStub(channel).AmendAgreement(amendment).token


def days_on(federation: Federation, days: float) -> Timestamp:
    return to_timestamp(federation.time() + timedelta(days=days))


def drafted_site(federation: Federation, name: str, **changes: Any) -> SiteHome:
    """A site that enrolled under other terms than the usual ones."""
    site, token = init_home(federation.folder / name, name=name), federation.invite(name)
    with federation.operator() as channel:
        AgreementServiceStub(channel).DraftAgreement(request(name, **changes))
    read_agreement(site, token)
    sign_agreement(site, token, signatory=SIGNATORY)
    enrol(site, federation.execute(name))
    return site


def test_an_amendment_takes_effect_when_both_have_signed(federation: Federation) -> None:
    """Until then the version before is in force; the site keeps SITEID and certificate, and needs no token."""
    home, member = federation.site("Amended")
    certificate = member.certificate.read_bytes()
    assert amend(federation, "Amended", modalities=["CT", "MR"], studies=5) == ""
    with submitting(home, member) as submit:
        submit(sealed_study(home, member, study="before"))
    assert fetch_countersigned(home) is None
    assert standing(member).amendment is State.DRAFTED
    read_amendment(home)
    assert sign_amendment(home, signatory=SIGNATORY).version == 2
    assert standing(member).amendment is State.SIGNED
    with submitting(home, member) as submit:
        submit(sealed_study(home, member, study="signed", sequence=2))
    assert fetch_countersigned(home) is None
    assert federation.execute("Amended") == ""
    renewed = fetch_countersigned(home)
    assert renewed == load_membership(home)
    assert (renewed.site_id, renewed.agreement_version, renewed.terms.scope.studies) == (member.site_id, 2, 5)
    assert member.certificate.read_bytes() == certificate
    assert fetch_countersigned(home) is None
    with submitting(home, renewed) as submit:
        submit(sealed_study(home, renewed, study="after", sequence=3))
    curator = CuratorHome(federation.folder / "curator-curator")
    with fetching(curator, load_curator_keys(curator.keys), load_protocol()) as fetcher:
        opened = [fetcher.open(listed.id) for listed in fetcher.submissions() if listed.site_id == member.site_id]
    assert [study.contents.agreement_version for study in opened] == [1, 1, 2]


def test_what_is_signed_is_the_version_that_was_read(federation: Federation) -> None:
    """An amendment written again is read again; what was signed of the one before it does not hold."""
    home, _ = federation.site("Careful")
    with pytest.raises(AgreementNotExecuted):
        read_amendment(home)
    amend(federation, "Careful")
    with pytest.raises(AgreementTextChanged):
        sign_amendment(home, signatory=SIGNATORY)
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    amend(federation, "Careful", studies=5)
    with pytest.raises(AgreementTransitionInvalid):
        federation.execute("Careful")
    with pytest.raises(AgreementTextChanged):
        sign_amendment(home, signatory=SIGNATORY)
    assert read_amendment(home).terms.version == 3


def test_an_expired_agreement_is_renewed(federation: Federation) -> None:
    """The site signs the next version with the certificate that it has, which it may renew meanwhile."""
    home = drafted_site(federation, "Renewed", expires_at=days_on(federation, 2))
    member = load_membership(home)
    federation.time.ahead = timedelta(days=3)
    assert standing(member).state is State.EXPIRED
    assert renew_if_due(member_of(member), datetime.now(UTC) + timedelta(days=21))
    with pytest.raises(InvalidArgument):
        amend(federation, "Renewed", expires_at=days_on(federation, -1))
    amend(federation, "Renewed", expires_at=days_on(federation, 10))
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    assert federation.execute("Renewed") == ""
    renewed = fetch_countersigned(home)
    assert renewed is not None
    assert (standing(renewed).state, renewed.site_id) == (State.EXECUTED, member.site_id)


def test_a_terminated_agreement_is_reinstated(federation: Federation) -> None:
    """Its certificates were revoked, so the site signs with an invitation and enrols again, under the SITEID it had."""
    home, member = federation.site("Reinstated")
    with pytest.raises(AgreementTransitionInvalid):
        amend(federation, "Reinstated", reinstate=True)
    with federation.operator() as channel:
        AgreementServiceStub(channel).TerminateAgreement(pb.TerminateAgreementRequest(reference="Reinstated"))
    with pytest.raises(AgreementTerminated, match="terminated the agreement, and refuses this site since"):
        read_amendment(home)
    with pytest.raises(AgreementTransitionInvalid):
        amend(federation, "Reinstated")
    with pytest.raises(AgreementTransitionInvalid, match="agreement reinstate"):  # its token could read nothing
        federation.invite("Reinstated")
    token = amend(federation, "Reinstated", reinstate=True)
    thief = init_home(federation.folder / "thief", name="Thief")
    read_agreement(thief, token)
    with pytest.raises(SignatureInvalid):  # curators know the site by the key that it had
        sign_agreement(thief, token, signatory=SIGNATORY)
    read_agreement(home, token)
    read_agreement(home, federation.invite("Reinstated"))  # in place of one that was lost
    sign_agreement(home, token, signatory=SIGNATORY)
    again = enrol(home, federation.execute("Reinstated"))
    assert (again.site_id, again.agreement_version) == (member.site_id, 2)
    assert standing(again).state is State.EXECUTED


def test_a_draft_that_expired_unsigned_burns_no_name(federation: Federation) -> None:
    """Its hospital is invited again, and drafted, signed and enrolled as any other."""
    home, token = init_home(federation.folder / "slow", name="Slow"), federation.invite("Slow")
    with federation.operator() as channel:
        AgreementServiceStub(channel).DraftAgreement(request("Slow", expires_at=days_on(federation, 1)))
    federation.time.ahead = timedelta(days=2)
    with pytest.raises(AgreementNotExecuted):
        read_agreement(home, token)
    token = federation.invite("Slow")
    federation.draft("Slow")
    read_agreement(home, token)
    sign_agreement(home, token, signatory=SIGNATORY)
    assert enrol(home, federation.execute("Slow")).agreement_version == 2


def test_an_amendment_is_countersigned_from_its_first_day_on(federation: Federation) -> None:
    """There is no day between on which neither version is in force."""
    home, _ = federation.site("Later")
    amend(federation, "Later", starts_at=days_on(federation, 1))
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    with pytest.raises(AgreementNotBegun):
        federation.execute("Later")
    assert standing(load_membership(home)).state is State.EXECUTED
    federation.time.ahead = timedelta(days=1)
    federation.execute("Later")


def test_a_suspended_agreement_goes_on_under_its_next_version(federation: Federation) -> None:
    """Without one that the site signed, executing it puts the version before in force again."""
    home, member = federation.site("Paused")
    federation.suspend("Paused")
    amend(federation, "Paused", studies=5)
    federation.execute("Paused")
    assert (standing(member).state, standing(member).agreement_version) == (State.EXECUTED, 1)
    federation.suspend("Paused")
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    assert federation.execute("Paused") == ""
    assert (standing(member).state, standing(member).agreement_version) == (State.EXECUTED, 2)


def allowed(reading: Reading) -> list[AuditEvent]:
    """The events that are no refusals."""
    return [event for event in reading.events(limit=10_000) if not event.result.startswith("refused")]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"modalities": ["XY"]}, InvalidArgument),
        ({"modalities": ["ct"]}, InvalidArgument),
        ({"curator": "nobody"}, NotFound),
        ({"site_name": "Nowhere"}, NotFound),
        ({"scope": "x" * 8001}, InvalidArgument),
        ({"studies": 2**32 - 1}, InvalidArgument),
        ({"locations": ["x" * 101]}, InvalidArgument),
        ({"expires_at": Timestamp(seconds=1)}, InvalidArgument),
        ({"expires_at": Timestamp(seconds=10**11)}, InvalidArgument),
        ({"starts_at": Timestamp(seconds=-(10**10))}, InvalidArgument),
        ({"starts_at": Timestamp(seconds=2 * 10**9), "expires_at": Timestamp(seconds=2 * 10**9)}, InvalidArgument),
    ],
)
def test_what_cannot_be_meant_is_refused(
    federation: Federation, changes: dict[str, Any], error: type[RicordError]
) -> None:
    """Neither a draft nor an amendment with it leaves anything, and the sentence is no defect."""
    with federation.reading() as reading:
        is_known = reading.site("Strict") is not None
    if not is_known:
        federation.site("Strict")
        federation.invite("New")
    with federation.reading() as reading:
        before = reading.agreements(), allowed(reading)
    with pytest.raises(error):
        amend(federation, "Strict", **changes)
    with pytest.raises(error), federation.operator() as channel:
        AgreementServiceStub(channel).DraftAgreement(request("New", **changes))
    with federation.reading() as reading:
        assert (reading.agreements(), allowed(reading)) == before


def test_a_signed_document_is_attached_by_its_digest(federation: Federation) -> None:
    """The record and the audit log hold the SHA-256, and the next version has none until one is attached to it."""
    home, _ = federation.site("Papered")
    digest = hashlib.sha256(b"%PDF-").hexdigest()
    with federation.operator() as channel:
        stub = AgreementServiceStub(channel)
        attach = pb.AttachDocumentRequest(reference="Papered", sha256=digest)
        assert stub.AttachDocument(attach).agreement.attachment == digest
    with pytest.raises(InvalidIdentifier), federation.operator() as channel:
        AgreementServiceStub(channel).AttachDocument(pb.AttachDocumentRequest(reference="Papered", sha256="x"))
    with federation.reading() as reading:
        assert digest in allowed(reading)[-1].action
    amend(federation, "Papered")
    read_amendment(home)
    sign_amendment(home, signatory=SIGNATORY)
    federation.execute("Papered")
    with federation.reading() as reading:
        [agreement] = [row for row in reading.agreements() if row.site_name == "Papered"]
        replaced = reading.agreement_version(agreement.id, 1)
    assert (agreement.version, agreement.attachment) == (2, None)
    assert replaced is not None
    assert replaced.attachment == digest
