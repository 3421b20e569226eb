"""Which uploads the coordinator accepts and which it refuses, however they arrive."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine

from coordinator.audit.service import AuditService, every_event
from coordinator.audit.servicer import AuditServicer
from coordinator.home.identity import utc_now
from coordinator.home.init import open_home_store
from coordinator.store import tables
from coordinator.store.audit_chain import verify
from coordinator.store.blobs import Blobs
from coordinator.store.sql import SqlStore
from coordinator.submission.service import Limits, SubmissionService, blob_name, gaps, repeats
from shared.crypto.pki import Role
from shared.errors import (
    AgreementNotExecuted,
    CertificateForeign,
    DiskFull,
    InvalidArgument,
    ManifestInvalid,
    NotFound,
    RicordError,
    RoleNotAllowed,
    SealedFileInvalid,
    SignatureInvalid,
    UploadInterrupted,
)
from shared.ids import AgreementId, Sha256, SiteId
from shared.proto.ricord.v1 import agreement_pb2, audit_pb2, submission_pb2
from shared.proto.ricord.v1.agreement_pb2_grpc import AgreementServiceStub
from shared.proto.ricord.v1.submission_pb2_grpc import SubmissionServiceStub
from shared.receipt import Receipt
from shared.signed import Signed, of_manifest
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from tests.factories.federation import Federation, Time, running_federation, sealed_bytes
from tests.factories.rows import SITE_ID

CHUNK = 1 << 16


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture(scope="module")
def member(federation: Federation) -> tuple[SiteHome, Membership]:
    return federation.site("Submitting Hospital")


@pytest.fixture(scope="module")
def signed(member: tuple[SiteHome, Membership]) -> Signed:
    """One manifest as it travels."""
    return of_manifest(sealed_bytes(*member, 9).manifest)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture(scope="module")
def store(federation: Federation) -> Iterator[SqlStore]:
    opened = open_home_store(federation.home, federation.settings)
    yield opened
    opened.close()


@pytest.fixture
def service(federation: Federation, store: SqlStore, blobs: Blobs) -> SubmissionService:
    return SubmissionService(store, blobs, federation.identity)


def chunks(data: bytes, start: int = 0) -> list[bytes]:
    """`data` from `start` on, in pieces."""
    return [data[at : at + CHUNK] for at in range(start, len(data), CHUNK)]


def files(blobs: Blobs) -> list[Path]:
    """Everything in the folder."""
    return [path for folder in (blobs._partial, blobs._sealed) for path in folder.rglob("*") if path.is_file()]


def test_an_upload_goes_on_where_it_ended(
    service: SubmissionService, member: tuple[SiteHome, Membership], blobs: Blobs
) -> None:
    """Broken off at any point, the rest is enough; the receipt names what arrived."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 5 * CHUNK + 7, sequence=1)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    for end in (2 * CHUNK, 3 * CHUNK + 1):
        durable = service.offset(membership.site_id, signed).durable
        with pytest.raises(ManifestInvalid, match="fewer"):
            list(service.receive(membership.site_id, signed, durable, chunks(data[:end], durable)))
        assert service.offset(membership.site_id, signed).durable == end
    *acknowledged, receipt = service.receive(membership.site_id, signed, end, chunks(data, end))
    assert acknowledged == [len(data)]
    assert isinstance(receipt, Signed)
    named = receipt.verified(membership.coordinator_key, Receipt, what="the receipt")
    assert named.ciphertext_sha256 == sealed.manifest.manifest.ciphertext_sha256
    assert [path.read_bytes() for path in files(blobs)] == [data]
    assert service.offset(membership.site_id, signed).receipt == receipt
    assert list(service.receive(membership.site_id, signed, 0, [])) == [receipt]


def test_other_bytes_are_not_taken(
    service: SubmissionService, member: tuple[SiteHome, Membership], blobs: Blobs
) -> None:
    """One changed bit: nothing is kept, and the upload starts over."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=2)
    data, signed = bytearray(sealed.ciphertext.read_bytes()), of_manifest(sealed.manifest)
    data[CHUNK] ^= 1
    with pytest.raises(SealedFileInvalid):
        list(service.receive(membership.site_id, signed, 0, chunks(bytes(data))))
    assert files(blobs) == []
    assert service.offset(membership.site_id, signed).durable == 0


def test_more_bytes_than_named_are_not_taken(service: SubmissionService, member: tuple[SiteHome, Membership]) -> None:
    """A site cannot fill the disk beyond what its manifest says."""
    site, membership = member
    sealed = sealed_bytes(site, membership, CHUNK, sequence=3)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    with pytest.raises(ManifestInvalid, match="more bytes"):
        list(service.receive(membership.site_id, signed, 0, [data, b"x"]))


def test_a_wrong_offset_is_refused(service: SubmissionService, member: tuple[SiteHome, Membership]) -> None:
    """No hole and no overlap."""
    site, membership = member
    signed = of_manifest(sealed_bytes(site, membership, CHUNK, sequence=4).manifest)
    with pytest.raises(InvalidArgument):
        list(service.receive(membership.site_id, signed, 5, [b"x"]))


def test_two_uploads_of_one_study_do_not_mix(
    service: SubmissionService, member: tuple[SiteHome, Membership], blobs: Blobs
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
    assert [path.read_bytes() for path in files(blobs)] == [data]


def test_a_death_between_file_and_row_loses_nothing(
    service: SubmissionService, member: tuple[SiteHome, Membership], blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was made final and no row written: the next try finds it whole and only commits."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=6)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    finalise = blobs.finalise

    def finalise_and_die(*arguments: object) -> None:
        finalise(*arguments)  # type: ignore[arg-type] # passed on as they came
        raise KeyboardInterrupt

    monkeypatch.setattr(blobs, "finalise", finalise_and_die)
    with pytest.raises(KeyboardInterrupt):
        list(service.receive(membership.site_id, signed, 0, chunks(data)))
    monkeypatch.setattr(blobs, "finalise", finalise)
    assert service.offset(membership.site_id, signed).durable == len(data)
    *_, receipt = service.receive(membership.site_id, signed, len(data), [])
    assert isinstance(receipt, Signed)
    assert [path.read_bytes() for path in files(blobs)] == [data]


def test_a_question_during_the_commit_moves_nothing(
    service: SubmissionService, member: tuple[SiteHome, Membership], blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offset is asked for between the final file and its row: the receipted file stays where it is."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=7)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    finalise, offsets = blobs.finalise, list[int]()

    def finalise_and_ask(name: Sha256) -> Path:
        path = finalise(name)
        offsets.append(service.offset(membership.site_id, signed).durable)
        return path

    monkeypatch.setattr(blobs, "finalise", finalise_and_ask)
    *_, receipt = service.receive(membership.site_id, signed, 0, chunks(data))
    assert isinstance(receipt, Signed)
    assert offsets == [len(data)]
    assert blobs.path(blob_name(sealed.manifest.manifest)).read_bytes() == data


def test_a_question_that_overtakes_the_commit_moves_nothing(
    service: SubmissionService, member: tuple[SiteHome, Membership], blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offset is asked for before the row and reads the file after it: the receipted file stays where it is."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 2 * CHUNK, sequence=9)
    data, signed, durable = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest), blobs.durable

    def commit_first(name: Sha256, *, committed: Callable[[], bool]) -> int:
        monkeypatch.setattr(blobs, "durable", durable)
        list(service.receive(membership.site_id, signed, 0, chunks(data)))
        return durable(name, committed=committed)

    monkeypatch.setattr(blobs, "durable", commit_first)
    service.offset(membership.site_id, signed)
    assert blobs.path(blob_name(sealed.manifest.manifest)).read_bytes() == data


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"site_id": SiteId("999999")}, ManifestInvalid),
        ({"agreement": AgreementId("A-ffffffffffff")}, ManifestInvalid),
        ({"agreement_version": 2}, ManifestInvalid),
        ({"recipient": "age1another"}, ManifestInvalid),
        ({"modalities": ("CT", "MR")}, ManifestInvalid),
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
    service = SubmissionService(store, Blobs(site.folder / "unused"), federation.identity)
    with pytest.raises(SignatureInvalid):
        service.offset(membership.site_id, changed)


@pytest.mark.parametrize("error", [CertificateForeign, AgreementNotExecuted])
def test_an_upload_outlives_neither_membership_nor_agreement(
    federation: Federation, service: SubmissionService, store: SqlStore, error: type[RicordError]
) -> None:
    """Revoked or suspended while the bytes come in: no receipt is written; what arrived is kept for later."""
    name = f"Interrupted by {error.__name__}"
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
    assert service.offset(membership.site_id, signed).receipt is None
    assert service.offset(membership.site_id, signed).durable == len(data)


def test_only_the_agreements_curator_fetches(service: SubmissionService, member: tuple[SiteHome, Membership]) -> None:
    """The curator a study is sealed to gets its ciphertext unchanged; any other curator is refused."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 3 * CHUNK, sequence=8)
    data, signed = sealed.ciphertext.read_bytes(), of_manifest(sealed.manifest)
    *_, receipt = service.receive(membership.site_id, signed, 0, chunks(data))
    assert isinstance(receipt, Signed)
    key = receipt.verified(membership.coordinator_key, Receipt, what="the receipt").submission
    fetched, parts = service.fetch("curator", key)
    assert b"".join(parts) == data
    assert fetched.row.manifest == signed
    with pytest.raises(RoleNotAllowed):
        service.fetch("another", key)
    with pytest.raises(NotFound):
        service.submission(key, curator="another")
    assert service.submissions(curator="another") == []
    assert key in {row.id for row in service.submissions(curator="curator")}
    with pytest.raises(NotFound):
        service.fetch("curator", "0" * 64)


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


def test_no_site_fills_the_disk(
    federation: Federation, store: SqlStore, member: tuple[SiteHome, Membership], blobs: Blobs
) -> None:
    """Neither with one study nor with unfinished ones; an upload nobody continues is removed, an open one is not."""
    site, membership = member
    time, limits = Time(), Limits(study=3 * CHUNK, unfinished=4 * CHUNK)
    service = SubmissionService(store, blobs, federation.identity, time, limits)

    def begin(size: int, sequence: int) -> None:
        sealed = sealed_bytes(site, membership, size, sequence=sequence)
        list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [bytes(2 * CHUNK)]))

    with pytest.raises(ManifestInvalid, match="larger"):
        begin(3 * CHUNK + 1, 20)
    with pytest.raises(ManifestInvalid, match="fewer"):
        begin(3 * CHUNK, 21)
    with pytest.raises(DiskFull):
        begin(3 * CHUNK, 22)
    [unfinished] = files(blobs)
    time.ahead = timedelta(days=8)
    with blobs.open_partial(Sha256(unfinished.name)), pytest.raises(DiskFull):
        begin(3 * CHUNK, 23)
    with pytest.raises(ManifestInvalid, match="fewer"):
        begin(3 * CHUNK, 24)
    assert not unfinished.exists()


@given(st.sets(st.integers(1, 40), min_size=1))
def test_gaps_and_arrivals_make_the_whole(numbers: set[int]) -> None:
    """What arrived and what is reported missing are together exactly 1 to the highest."""
    gaps_found = gaps([(SITE_ID, number) for number in sorted(numbers)])
    missing = {number for gap in gaps_found for number in range(gap.first, gap.last + 1)}
    assert missing | numbers == set(range(1, max(numbers) + 1))
    assert not missing & numbers


@given(st.lists(st.tuples(st.sampled_from([SITE_ID, SiteId("999999")]), st.integers(1, 9))))
def test_a_number_that_came_twice_is_said(numbers: list[tuple[SiteId, int]]) -> None:
    """Each with how often it came, and none that came once; gaps are not counted anew for it."""
    numbers.sort()
    said = {(repeat.site_id, repeat.sequence): repeat.count for repeat in repeats(numbers)}
    assert said == {number: numbers.count(number) for number in numbers if numbers.count(number) > 1}
    assert gaps(numbers) == gaps(sorted(set(numbers)))


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_count": 2**40},
        {"series_count": 2**31},
        {"agreement_version": 2**31},
        {"sequence": 2**70},
        {"sequence": 0},
        {"ciphertext_size": 2**63},
    ],
    ids=str,
)
def test_no_number_is_taken_that_a_list_cannot_hold(
    service: SubmissionService, member: tuple[SiteHome, Membership], changes: dict[str, Any]
) -> None:
    """It is refused with the manifest that states it, and is no defect."""
    site, membership = member
    signed = of_manifest(sealed_bytes(site, membership, 9, **changes).manifest)
    with pytest.raises(SignatureInvalid):
        service.offset(membership.site_id, signed)


def test_a_row_that_cannot_be_read_is_named_and_hides_no_other(
    federation: Federation, service: SubmissionService, store: SqlStore, member: tuple[SiteHome, Membership]
) -> None:
    """One of an older release states a number out of bounds; lists name it, and every other row is whole."""
    site, membership = member
    for sequence in (40, 40, 41):
        sealed = sealed_bytes(site, membership, 9, sequence=sequence)
        list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
    old = of_manifest(sealed_bytes(site, membership, 9, sequence=42, instance_count=2**40).manifest)
    last = service.submissions(membership.site_id)[-1]
    bad = {"id": Sha256("b" * 64), "contents_sha256": Sha256("b" * 64), "sequence": 42, "manifest": old}
    with store.begin() as work:
        work.add_submission(last.model_copy(update=bad))
    with federation.operator() as channel:
        stub = SubmissionServiceStub(channel)
        listed = stub.ListSubmissions(submission_pb2.ListSubmissionsRequest())
        assert stub.GetSubmission(submission_pb2.GetSubmissionRequest(id="b" * 64)).submission.problem
    assert [row.id for row in listed.submissions if row.problem] == ["b" * 64]
    assert all(row.instance_count for row in listed.submissions if not row.problem)
    assert [(repeat.sequence, repeat.count) for repeat in listed.repeats] == [(40, 2)]
    with store.begin() as work:
        work._connection.execute(tables.submissions.delete().where(tables.submissions.c.id == "b" * 64))


def test_audit_verify_asks_the_receipts(
    federation: Federation, service: SubmissionService, store: SqlStore, member: tuple[SiteHome, Membership]
) -> None:
    """`audit verify` detects a log rewritten without the arrival of a receipted study."""
    site, membership = member
    sealed = sealed_bytes(site, membership, 9, sequence=30)
    list(service.receive(membership.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
    context: Any = None
    assert AuditServicer(AuditService(store)).VerifyAudit(audit_pb2.VerifyAuditRequest(), context).intact
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
    answer = AuditServicer(AuditService(store)).VerifyAudit(audit_pb2.VerifyAuditRequest(), context)
    assert not answer.intact
    assert answer.broken_at
