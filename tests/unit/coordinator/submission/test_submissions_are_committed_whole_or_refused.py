"""Which uploads the coordinator accepts and which it refuses, however they arrive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from coordinator.agreements.lookup import site_of
from coordinator.audit.service import AuditService, every_event
from coordinator.audit.servicer import AuditServicer
from coordinator.home.identity import utc_now
from coordinator.store import tables
from coordinator.store.audit_chain import verify
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.folder import CiphertextFolder
from coordinator.store.sql import SqlStore
from coordinator.submission.commits import Received
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.lookup import blob_name
from coordinator.submission.service import SubmissionService
from shared.crypto.pki import Role
from shared.errors.agreements import AgreementNotExecuted, AgreementSuperseded
from shared.errors.base import RicordError
from shared.errors.inputs import NotFound
from shared.errors.protocol import ProtocolMismatch
from shared.errors.studies import ManifestInvalid, SealedFileInvalid
from shared.errors.transport import UploadInterrupted
from shared.errors.trust import CertificateForeign, RoleNotAllowed, SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId
from shared.proto.ricord.v1 import agreement_pb2, audit_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.receipt import Receipt
from shared.signed import Signed, of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.ciphertexts import CHUNK, chunks, contents, final_names
from tests.factories.federation import Federation, sealed_bytes


def test_an_upload_goes_on_where_it_ended(
    service: SubmissionService, member: tuple[SiteHome, Membership], ciphertexts: CiphertextStore
) -> None:
    """Broken off at any point, the rest is enough; the receipt names what arrived."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 5 * CHUNK + 7, sequence=1)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    end = 0
    for sent in (2 * CHUNK, 3 * CHUNK + 1):
        durable = service.offset(membership.site_id, signed).durable
        with pytest.raises(ManifestInvalid, match="fewer"):
            list(service.receive(membership.site_id, signed, durable, chunks(data[:sent], durable)))
        end = service.offset(membership.site_id, signed).durable
        assert sent - CHUNK < end <= sent
    *acknowledged, receipt = service.receive(membership.site_id, signed, end, chunks(data, end))
    assert all(isinstance(durable, int) and end < durable <= len(data) for durable in acknowledged)
    assert isinstance(receipt, Signed)
    named = receipt.verified(membership.coordinator_key, Receipt, what="the receipt")
    assert named.ciphertext_sha256 == sealed.manifest.manifest.ciphertext_sha256
    assert contents(ciphertexts) == [data]
    assert service.offset(membership.site_id, signed).received == (receipt, signed)
    assert list(service.receive(membership.site_id, signed, 0, [])) == [(receipt, signed)]


def test_other_bytes_are_not_taken(
    service: SubmissionService, member: tuple[SiteHome, Membership], ciphertexts: CiphertextStore
) -> None:
    """One changed bit: nothing is kept, and the upload starts over."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=2)
    data, signed = bytearray(sealed.ciphertext.read_bytes()), of_manifest(sealed.manifest)
    data[CHUNK] ^= 1
    with pytest.raises(SealedFileInvalid):
        list(service.receive(membership.site_id, signed, 0, chunks(bytes(data))))
    assert contents(ciphertexts) == []
    assert service.offset(membership.site_id, signed).durable == 0


def test_more_bytes_than_named_are_not_taken(service: SubmissionService, member: tuple[SiteHome, Membership]) -> None:
    """A site cannot fill the disk beyond what its manifest says."""
    site, membership = member
    sealed = sealed_bytes(site, membership, CHUNK, sequence=3)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    with pytest.raises(ManifestInvalid, match="more bytes"):
        list(service.receive(membership.site_id, signed, 0, [data, b"x"]))


def test_a_wrong_offset_is_refused(service: SubmissionService, member: tuple[SiteHome, Membership]) -> None:
    """No hole and no overlap: the site asks again where to go on."""
    site, membership = member
    signed = of_manifest(sealed_bytes(site, membership, CHUNK, sequence=4).manifest)
    with pytest.raises(UploadInterrupted):
        list(service.receive(membership.site_id, signed, 5, [b"x"]))


def test_two_uploads_of_one_study_do_not_mix(
    service: SubmissionService, member: tuple[SiteHome, Membership], ciphertexts: CiphertextStore
) -> None:
    """The second is refused while the first is open, and may try again later."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 3 * CHUNK, sequence=5)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)

    def parts() -> Iterator[bytes]:
        for number, part in enumerate(chunks(data)):
            if number == 1:
                with pytest.raises(UploadInterrupted):
                    list(service.receive(membership.site_id, signed, 0, chunks(data)))
            yield part

    *_, receipt = service.receive(membership.site_id, signed, 0, parts())
    assert isinstance(receipt, Signed)
    assert contents(ciphertexts) == [data]


def test_a_death_between_file_and_row_loses_nothing(
    service: SubmissionService,
    member: tuple[SiteHome, Membership],
    ciphertexts: CiphertextStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The ciphertext was made final and no row written: the next try finds it whole and only commits."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=6)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)

    def kill(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(service._commits, "commit", kill)
        with pytest.raises(KeyboardInterrupt):
            list(service.receive(membership.site_id, signed, 0, chunks(data)))
    assert final_names(ciphertexts) == [blob_name(sealed.manifest.manifest)]
    assert service.offset(membership.site_id, signed).durable == len(data)
    *_, receipt = service.receive(membership.site_id, signed, len(data), [])
    assert isinstance(receipt, Signed)
    assert contents(ciphertexts) == [data]


def test_a_question_during_the_commit_moves_nothing(
    service: SubmissionService,
    member: tuple[SiteHome, Membership],
    ciphertexts: CiphertextStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An offset is asked for between the final file and its row: the receipted file stays where it is."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=7)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    commit, offsets = service._commits.commit, list[int]()

    def ask_and_commit(*arguments: Any) -> Signed | Received:
        offsets.append(service.offset(membership.site_id, signed).durable)
        return commit(*arguments)

    monkeypatch.setattr(service._commits, "commit", ask_and_commit)
    *_, receipt = service.receive(membership.site_id, signed, 0, chunks(data))
    assert isinstance(receipt, Signed)
    assert offsets == [len(data)]
    assert contents(ciphertexts) == [data]


def test_a_question_that_overtakes_the_commit_moves_nothing(
    service: SubmissionService,
    member: tuple[SiteHome, Membership],
    ciphertexts: CiphertextStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An offset is asked for before the row and reads the file after it: the receipted file stays where it is."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=9)
    data, signed, durable = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest), ciphertexts.durable

    def commit_first(name: Sha256) -> int:
        monkeypatch.setattr(ciphertexts, "durable", durable)
        list(service.receive(membership.site_id, signed, 0, chunks(data)))
        return durable(name)

    monkeypatch.setattr(ciphertexts, "durable", commit_first)
    service.offset(membership.site_id, signed)
    assert contents(ciphertexts) == [data]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"site_id": SiteId("999999")}, ManifestInvalid),
        ({"agreement": AgreementId("A-ffffffffffff")}, ManifestInvalid),
        ({"agreement_version": 2}, ManifestInvalid),
        ({"recipient": "age1another"}, ManifestInvalid),
        ({"modalities": ("CT", "MR")}, ManifestInvalid),
        ({"protocol_digest": Sha256("0" * 64)}, ProtocolMismatch),
    ],
)
def test_nothing_is_taken_outside_the_agreement(
    service: SubmissionService,
    member: tuple[SiteHome, Membership],
    changes: dict[str, Any],
    kind: type[RicordError],
) -> None:
    """Another site, agreement, version, curator or modality than the one in force."""
    site, membership = member
    signed = of_manifest(sealed_bytes(site, membership, 9, **changes).manifest)
    with pytest.raises(kind):
        service.offset(membership.site_id, signed)


@pytest.mark.parametrize("ciphertexts", ["folder"], indirect=True)  # refused before any is read
def test_what_was_sealed_under_a_replaced_version_is_sealed_again(
    service: SubmissionService, store: SqlStore, member: tuple[SiteHome, Membership]
) -> None:
    """That is no fault of it; a version of another agreement is one."""
    site, membership = member
    older = sealed_bytes(site, membership, 9).manifest.manifest
    other = older.model_copy(update={"agreement": AgreementId("A-ffffffffffff")})
    with store.read() as reading:
        terms = service._claims.terms(reading, membership.agreement)
        every = older.model_copy(update={"modalities": terms.scope.modalities})
        for manifest in (older, every):
            service._claims.check(reading, membership.site_id, manifest, terms)
        nameless = site_of(reading, membership.site_id).model_copy(update={"verify_key": None})
        with pytest.raises(SignatureInvalid):
            service._claims.verified(nameless, of_manifest(sealed_bytes(site, membership, 9).manifest))
        terms = terms.model_copy(update={"version": terms.version + 1})
        for manifest, kind in ((older, AgreementSuperseded), (other, ManifestInvalid)):
            with pytest.raises(kind):
                service._claims.check(reading, membership.site_id, manifest, terms)


@pytest.mark.slow
@given(data=st.data())
def test_a_changed_manifest_is_refused(
    data: st.DataObject,
    federation: Federation,
    store: SqlStore,
    member: tuple[SiteHome, Membership],
    signed: Signed,
) -> None:
    """Any byte of the document or the signature."""
    site, membership = member
    part = data.draw(st.sampled_from(["document", "signature"]))
    text = getattr(signed, part)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126).filter(lambda letter: letter != text[at]))
    changed = signed.model_copy(update={part: text[:at] + other + text[at + 1 :]})
    service = SubmissionService(store, CiphertextFolder(site.folder / "unused"), federation.identity)
    with pytest.raises(SignatureInvalid):
        service.offset(membership.site_id, changed)


@pytest.mark.parametrize("error", [CertificateForeign, AgreementNotExecuted])
def test_an_upload_outlives_neither_membership_nor_agreement(
    federation: Federation,
    service: SubmissionService,
    store: SqlStore,
    ciphertexts: CiphertextStore,
    error: type[RicordError],
) -> None:
    """Revoked or suspended while the bytes come in: no receipt; what arrived is kept for later, within the quota."""
    name = f"Interrupted by {error.__name__}, {type(ciphertexts).__name__}"
    site, membership = federation.site(name)
    sealed = sealed_bytes(site, membership, 2 * CHUNK)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)

    def parts() -> Iterator[bytes]:
        yield from chunks(data)
        if error is AgreementNotExecuted:
            federation.suspend(name)
            return
        with store.begin() as work:
            work.revoke(Role.SITE, membership.site_id, utc_now())

    with pytest.raises(error):
        list(service.receive(membership.site_id, signed, 0, parts()))
    if error is AgreementNotExecuted:
        federation.execute(name)
    assert service.offset(membership.site_id, signed).received is None
    assert service.offset(membership.site_id, signed).durable == len(data)


def test_only_the_agreements_curator_fetches(
    service: SubmissionService, store: SqlStore, member: tuple[SiteHome, Membership]
) -> None:
    """The curator a study is sealed to gets its ciphertext unchanged; any other curator is refused."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 3 * CHUNK, sequence=8)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    *_, receipt = service.receive(membership.site_id, signed, 0, chunks(data))
    assert isinstance(receipt, Signed)
    key = receipt.verified(membership.coordinator_key, Receipt, what="the receipt").submission
    fetched, parts = service.fetch("curator", key)
    with store.read() as reading:
        [event] = reading.events(after=reading.log_size() - 1, limit=1)
    assert (event.actor.rpartition("/")[2], event.action, event.object) == ("curator", "study fetched", key)
    assert b"".join(parts) == data
    assert fetched.row.manifest == signed
    with pytest.raises(RoleNotAllowed):
        service.fetch("another", key)
    lists = SubmissionLists(store)
    with pytest.raises(NotFound):
        lists.submission(key, curator="another")
    assert lists.page(site="", curator="another", after=0, limit=0).rows == []
    assert key in {row.id for row in lists.page(site="", curator="curator", after=0, limit=0).rows}
    with pytest.raises(NotFound):
        service.fetch("curator", "0" * 64)


@pytest.mark.parametrize("ciphertexts", ["folder"], indirect=True)  # refused before any is read
def test_nothing_is_handed_out_under_an_agreement_out_of_force(
    federation: Federation, service: SubmissionService
) -> None:
    """Suspended: no byte, resumed: again, terminated: never again."""
    site, membership = federation.site("Leaving Hospital")
    sealed = sealed_bytes(site, membership, CHUNK)
    *_, receipt = service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()])
    assert isinstance(receipt, Signed)
    key = receipt.verified(membership.coordinator_key, Receipt, what="the receipt").submission
    federation.suspend("Leaving Hospital")
    with pytest.raises(AgreementNotExecuted):
        service.fetch("curator", key)
    federation.execute("Leaving Hospital")
    service.fetch("curator", key)
    with federation.operator() as channel:
        request = agreement_pb2.TerminateAgreementRequest(reference="Leaving Hospital")
        AgreementServiceStub(channel).TerminateAgreement(request)
    with pytest.raises(AgreementNotExecuted):
        service.fetch("curator", key)


@pytest.mark.parametrize("ciphertexts", ["folder"], indirect=True)  # it writes the log anew
def test_audit_verify_asks_the_receipts(
    federation: Federation,
    service: SubmissionService,
    store: SqlStore,
    member: tuple[SiteHome, Membership],
    tmp_path: Path,
) -> None:
    """`audit verify` detects a log rewritten without the arrival of a receipted study."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 9, sequence=30)
    list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
    context: Any = None
    servicer = AuditServicer(AuditService(store, federation.identity, tmp_path / "audit-head.json"))
    assert servicer.VerifyAudit(audit_pb2.VerifyAuditRequest(), context).intact
    with store.read() as reading:
        other_events = [event for event in every_event(reading) if event.action != "study received"]
    engine = create_engine(federation.home.database(federation.settings))
    with engine.begin() as connection:
        connection.execute(tables.events.delete())
    engine.dispose()
    with store.begin() as work:
        for event in other_events:
            work.append_event(at=event.at, actor=event.actor, action=event.action, about=event.object)
    with store.read() as reading:
        assert verify(every_event(reading)).intact
    answer = servicer.VerifyAudit(audit_pb2.VerifyAuditRequest(), context)
    assert not answer.intact
    assert answer.broken_at
