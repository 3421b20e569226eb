"""What crosses the wire of submissions is what is kept: to its site, to its curator, and to the coordinators."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.sql import SqlStore
from coordinator.submission.decisions import DecisionService
from coordinator.submission.lists import SubmissionLists
from coordinator.submission.service import SubmissionService
from coordinator.submission.servicer import SubmissionServicer
from coordinator.submission.streams import IdleWatch
from coordinator.submission.withdrawals import WithdrawalService
from shared.crypto.pki import Peer, Role
from shared.crypto.signing import SigningKey
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import CoordinatorBusy
from shared.errors.trust import RoleNotAllowed, SignatureInvalid
from shared.ids import Sha256
from shared.proto.ricord.v1 import submission_pb2 as pb
from shared.signed import Signed, of_manifest
from shared.submission_state import Decision, SubmissionState
from shared.wire import from_signed, from_timestamp, to_signed
from shared.withdrawal import Purge
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.study import Sealed
from tests.factories.callers import call_by
from tests.factories.ciphertexts import open_ciphertexts
from tests.factories.federation import Federation, sealed_bytes

OPERATOR = call_by(Role.COORDINATOR, "operator")
CURATOR, OTHER = call_by(Role.CURATOR, "curator"), call_by(Role.CURATOR, "other")
Seal = Callable[..., Sealed]


@pytest.fixture
def ciphertexts(tmp_path: Path) -> CiphertextStore:
    """Of one kind: rows and messages are asked."""
    return open_ciphertexts("folder", tmp_path, None)


@pytest.fixture
def withdrawals(store: SqlStore, ciphertexts: CiphertextStore, federation: Federation) -> WithdrawalService:
    return WithdrawalService(store, ciphertexts, federation.identity)


@pytest.fixture
def servicer(
    store: SqlStore, service: SubmissionService, withdrawals: WithdrawalService, federation: Federation
) -> SubmissionServicer:
    decisions = DecisionService(store, federation.identity)
    return SubmissionServicer(service, SubmissionLists(store), decisions, withdrawals, IdleWatch())


@pytest.fixture(scope="module")
def site(federation: Federation) -> tuple[SiteHome, Membership]:
    """One whose submissions are this module's."""
    return federation.site("Shown Hospital")


@pytest.fixture
def caller(site: tuple[SiteHome, Membership]) -> Any:
    return call_by(Role.SITE, site[1].site_id)


@pytest.fixture
def key(federation: Federation) -> SigningKey:
    return load_curator_keys(CuratorHome(federation.folder / "curator-curator").keys).signing


def parts_of(sealed: Sealed, *, offset: int = 0) -> Iterator[pb.UploadRequest]:
    header = pb.UploadHeader(manifest=to_signed(of_manifest(sealed.manifest)), offset=offset)
    yield pb.UploadRequest(header=header)
    yield pb.UploadRequest(chunk=sealed.ciphertext.read_bytes()[offset:])


@pytest.fixture
def send(servicer: SubmissionServicer, site: tuple[SiteHome, Membership], caller: Any) -> Callable[..., Sealed]:
    """Seal bytes and upload them."""

    def new(**changes: Any) -> Sealed:
        sealed = sealed_bytes(*site, 9, **changes)
        list(servicer.Upload(parts_of(sealed), caller))
        return sealed

    return new


def test_an_upload_ends_with_its_receipt(
    servicer: SubmissionServicer, site: tuple[SiteHome, Membership], caller: Any
) -> None:
    """Before it nothing is durable and there is none; after it, and to a second upload, the very same one."""
    sealed = sealed_bytes(*site, 9)
    manifest = of_manifest(sealed.manifest)
    asked = pb.GetUploadOffsetRequest(manifest=to_signed(manifest))
    before = servicer.GetUploadOffset(asked, caller)
    assert (before.durable, before.HasField("receipt"), before.HasField("manifest")) == (0, False, False)
    *steps, last = servicer.Upload(parts_of(sealed), caller)
    assert [step.durable for step in steps] == [9] * len(steps)
    assert (last.HasField("receipt"), last.HasField("manifest")) == (True, False)
    [again] = servicer.Upload(parts_of(sealed), caller)
    after = servicer.GetUploadOffset(asked, caller)
    assert after.durable == 9
    assert from_signed(again.receipt) == from_signed(after.receipt) == from_signed(last.receipt)
    assert from_signed(again.manifest) == from_signed(after.manifest) == manifest


def test_an_upload_begins_with_its_header(servicer: SubmissionServicer, caller: Any) -> None:
    """A stream that ends at once, or begins with bytes, is refused."""
    for parts in ([], [pb.UploadRequest(chunk=b"x")]):
        with pytest.raises(InvalidArgument):
            list(servicer.Upload(iter(parts), caller))


def test_each_side_lists_what_is_its_own(
    servicer: SubmissionServicer, federation: Federation, send: Seal, site: tuple[SiteHome, Membership], caller: Any
) -> None:
    """A site what it sent, a curator what is sealed to it, the coordinators everything or one site's; page by page."""
    own = [send().manifest.manifest.submission for _ in range(3)]
    stranger = federation.site("Neighbouring Hospital")
    sealed = sealed_bytes(*stranger, 9)
    list(servicer.Upload(parts_of(sealed), call_by(Role.SITE, stranger[1].site_id)))

    def listed(context: Any, **asked: Any) -> list[pb.Submission]:
        rows, after = list[pb.Submission](), 0
        while after or not rows:
            page = servicer.ListSubmissions(pb.ListSubmissionsRequest(after=after, limit=1, **asked), context)
            if not page.submissions:
                break
            rows, after = [*rows, *page.submissions], page.next
            assert after in {0, rows[-1].changed if asked.get("by_change") else rows[-1].number}
        return rows

    site_id = site[1].site_id
    for context, asked in ((caller, ""), (caller, site_id), (OPERATOR, site_id), (CURATOR, site_id)):
        rows = listed(context, site_id=asked)
        assert {row.site_id for row in rows} == {site_id}
        assert [row.id for row in rows][-3:] == own
    for context in (OPERATOR, CURATOR):
        assert {row.site_id for row in listed(context)} >= {site_id, stranger[1].site_id}
    assert not listed(OTHER)
    with pytest.raises(RoleNotAllowed):
        servicer.ListSubmissions(pb.ListSubmissionsRequest(site_id=stranger[1].site_id), caller)
    for context, visible in ((OPERATOR, True), (CURATOR, True), (OTHER, False)):
        request = pb.GetSubmissionRequest(id=own[0])
        if visible:
            assert servicer.GetSubmission(request, context).submission.id == own[0]
        else:
            with pytest.raises(NotFound):
                servicer.GetSubmission(request, context)


def test_a_row_is_whole_in_every_list(
    servicer: SubmissionServicer, store: SqlStore, send: Seal, key: SigningKey, caller: Any
) -> None:
    """What the manifest states, when it came, its state, and its decision once there is one, at the list's end."""
    sealed = send(series_count=2, instance_count=7)
    manifest = sealed.manifest.manifest
    send()
    alone = servicer.GetSubmission(pb.GetSubmissionRequest(id=manifest.submission), OPERATOR)
    assert from_signed(alone.manifest) == of_manifest(sealed.manifest)
    row = alone.submission
    for name in ("agreement_version", "sequence", "contents_sha256", "ciphertext_sha256", "ciphertext_size",
                 "series_count", "instance_count", "patient", "study", "site_id"):  # fmt: skip
        assert getattr(row, name) == getattr(manifest, name), name
    assert (row.agreement_id, list(row.modalities)) == (manifest.agreement, ["CT"])
    assert (row.state, row.HasField("decision"), row.problem) == (pb.SUBMISSION_STATE_RECEIVED, False, "")
    with store.read() as reading:
        kept = reading.submission(manifest.submission)
    assert kept is not None
    assert (from_timestamp(row.received_at), row.number, row.changed) == (kept.received_at, kept.number, kept.number)
    assert from_signed(alone.receipt) == kept.receipt
    [listed] = [each for each in servicer.ListSubmissions(pb.ListSubmissionsRequest(), caller).submissions
                if each.id == row.id]  # fmt: skip
    assert listed == row
    state = Decision(
        submission=manifest.submission, state=SubmissionState.REJECTED, reasons=("no",), decided_at=kept.received_at
    )
    decision = Signed.by(key, state)
    servicer.Decide(pb.DecideRequest(decision=to_signed(decision)), CURATOR)
    last = servicer.ListSubmissions(pb.ListSubmissionsRequest(by_change=True), caller).submissions[-1]
    assert (last.id, last.state, from_signed(last.decision)) == (row.id, pb.SUBMISSION_STATE_REJECTED, decision)
    assert last.changed > row.changed
    numbers = [each.number for each in SubmissionLists(store).page(site="", curator=None, after=0, limit=0).rows]
    assert numbers == sorted(numbers)


def test_what_is_missing_and_what_came_twice_is_said(servicer: SubmissionServicer, federation: Federation) -> None:
    """From the first missing number to the last, and how often the others came; page by page."""
    site = federation.site("Counting Hospital")
    context = call_by(Role.SITE, site[1].site_id)
    for sequence in (1, 2, 2, 5, 7, 7, 7, 8):
        list(servicer.Upload(parts_of(sealed_bytes(*site, 9, sequence=sequence)), context))
    gaps, repeats, after, pages = list[tuple[int, int]](), list[tuple[int, int]](), "", 0
    while after or not pages:
        asked = pb.ListSequenceFaultsRequest(site_id=site[1].site_id, after=after, limit=1)
        page = servicer.ListSequenceFaults(asked, OPERATOR)
        gaps += [(gap.first, gap.last) for gap in page.gaps]
        repeats += [(repeat.sequence, repeat.count) for repeat in page.repeats]
        after, pages = page.next, pages + 1
    assert (gaps, repeats, pages) == ([(3, 4), (6, 6)], [(2, 2), (7, 3)], 3)
    silent = pb.ListSequenceFaultsRequest(site_id=federation.site("Silent Hospital")[1].site_id)
    assert servicer.ListSequenceFaults(silent, OPERATOR) == pb.ListSequenceFaultsResponse()
    everybody = servicer.ListSequenceFaults(pb.ListSequenceFaultsRequest(), OPERATOR)
    assert {(gap.site_id, gap.first) for gap in everybody.gaps} >= {(site[1].site_id, 3), (site[1].site_id, 6)}
    with pytest.raises(InvalidArgument):
        servicer.ListSequenceFaults(pb.ListSequenceFaultsRequest(after="7"), OPERATOR)


def test_a_curator_fetches_what_it_needs_to_check(
    servicer: SubmissionServicer, federation: Federation, send: Seal, site: tuple[SiteHome, Membership]
) -> None:
    """The row, the manifest, the site's key and both signatures under the agreement; then the bytes from an offset."""
    sealed = send()
    submission = sealed.manifest.manifest.submission
    header, *chunks = servicer.Fetch(pb.FetchRequest(id=submission, offset=4), CURATOR)
    assert b"".join(part.chunk for part in chunks) == sealed.ciphertext.read_bytes()[4:]
    row = header.header
    assert (row.submission.id, from_signed(row.manifest)) == (submission, of_manifest(sealed.manifest))
    with federation.reading() as reading:
        kept, agreement = reading.site(site[1].site_id), reading.agreement(site[1].agreement)
    assert kept is not None
    assert agreement is not None
    assert row.site_verify_key == kept.verify_key
    assert (from_signed(row.consent), from_signed(row.execution)) == (agreement.consent, agreement.execution)
    assert row.edition == federation.identity.protocol.edition


def test_a_withdrawal_is_shown_until_it_is_purged(
    servicer: SubmissionServicer, send: Seal, key: SigningKey, site: tuple[SiteHome, Membership], caller: Any
) -> None:
    """To both sides, each step when it was made; then it may be received again."""
    submission = send().manifest.manifest.submission
    [receipt] = servicer.Withdraw(
        pb.WithdrawRequest(submissions=[submission], instances=["1.2.4", "1.2.3"]), caller
    ).receipts

    def shown(context: Any, **asked: Any) -> list[pb.Withdrawal]:
        rows = servicer.ListWithdrawals(pb.ListWithdrawalsRequest(**asked), context).withdrawals
        return [row for row in rows if row.submission == submission]

    [row] = shown(OPERATOR)
    for context in (caller, CURATOR, OPERATOR):
        assert shown(context) == [row]
        assert (row.site_id, row.by, list(row.instances)) == (site[1].site_id, "site", ["1.2.3", "1.2.4"])
        assert row.deletion == receipt
        assert row.HasField("withdrawn_at")
        assert (row.HasField("purge"), row.HasField("allowed_at")) == (False, False)
        assert shown(context, unpurged=True) == [row]
        assert not shown(context, after=row.number)
        assert shown(context, after=row.number - 1) == [row]
    assert not shown(OTHER)
    assert not shown(call_by(Role.SITE, "999998"))
    statement = Signed.by(
        key, Purge(number=row.number, submission=submission, purged_at=from_timestamp(row.withdrawn_at))
    )
    servicer.ReportPurge(pb.ReportPurgeRequest(statement=to_signed(statement)), CURATOR)
    assert not shown(CURATOR, unpurged=True)
    servicer.AllowResubmission(pb.AllowResubmissionRequest(submission=submission), caller)
    [row] = shown(caller)
    assert from_signed(row.purge) == statement
    assert row.HasField("allowed_at")


def test_withdrawals_are_read_page_by_page(servicer: SubmissionServicer, send: Seal, caller: Any) -> None:
    """Each once; the last page names nothing after it."""
    submissions = [send().manifest.manifest.submission for _ in range(3)]
    servicer.Withdraw(pb.WithdrawRequest(submissions=submissions), caller)
    seen, after, pages = list[str](), 0, 0
    while after or not pages:
        page = servicer.ListWithdrawals(pb.ListWithdrawalsRequest(after=after, limit=2), caller)
        seen += [row.submission for row in page.withdrawals]
        after, pages = page.next, pages + 1
    assert seen[-3:] == submissions
    assert len(seen) == len(set(seen))
    assert pages == -(-len(seen) // 2)


def test_a_purge_is_of_what_was_withdrawn(
    withdrawals: WithdrawalService, store: SqlStore, send: Seal, key: SigningKey, site: tuple[SiteHome, Membership]
) -> None:
    """By its number and name, signed by its curator; said twice, the first statement stays, and there is one event."""
    peer = Peer(federation="test-federation", role=Role.SITE, name=site[1].site_id)
    submission = send().manifest.manifest.submission
    withdrawals.withdraw(peer, [submission])
    row = withdrawals.page(peer, after=0).rows[-1]

    def stated(
        number: int = row.number, name: Sha256 = submission, signer: SigningKey = key, minute: int = 0
    ) -> Signed:
        at = row.withdrawn_at.replace(minute=minute)
        return Signed.by(signer, Purge(number=number, submission=name, purged_at=at))

    for wrong in (stated(number=row.number + 1), stated(number=row.number - 1), stated(name=Sha256("a" * 64))):
        with pytest.raises(NotFound):
            withdrawals.note_purge("curator", wrong)
    with pytest.raises(SignatureInvalid):
        withdrawals.note_purge("curator", stated(signer=SigningKey.generate()))
    with store.read() as reading:
        events = reading.log_size()
    for minute in (1, 2):
        withdrawals.note_purge("curator", stated(minute=minute))
    assert withdrawals.page(peer, after=0).rows[-1].purge == stated(minute=1)
    with store.read() as reading:
        assert reading.log_size() == events + 1
        [event] = reading.events(after=events, limit=2)
    assert (event.action, event.object) == ("study purged", submission)


def test_what_is_asked_at_once_is_bounded(withdrawals: WithdrawalService) -> None:
    """A thousand submissions, or ten thousand images of one; one more is refused before anything is looked up."""
    peer = Peer(federation="test-federation", role=Role.COORDINATOR, name="operator")
    for submissions, images in ((1001, 0), (1, 10_001), (2, 1), (0, 1)):
        with pytest.raises(InvalidArgument):
            withdrawals.withdraw(
                peer, [f"{n:064x}" for n in range(submissions)], [f"1.2.{n + 1}" for n in range(images)]
            )
    for submissions, images in ((1000, 0), (1, 10_000)):
        with pytest.raises(NotFound):
            withdrawals.withdraw(
                peer, [f"{n:064x}" for n in range(submissions)], [f"1.2.{n + 1}" for n in range(images)]
            )
    assert withdrawals.withdraw(peer, []) == []


def test_a_ciphertext_in_use_is_deleted_later(
    withdrawals: WithdrawalService,
    ciphertexts: CiphertextStore,
    store: SqlStore,
    send: Seal,
    *,
    site: tuple[SiteHome, Membership],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tombstone stands, how many are left is counted, and until then nobody allows the study to come again."""
    peer = Peer(federation="test-federation", role=Role.SITE, name=site[1].site_id)
    submission = send().manifest.manifest.submission
    with monkeypatch.context() as busy:
        busy.setattr(ciphertexts, "delete", lambda name: False)
        with pytest.raises(CoordinatorBusy):
            withdrawals.withdraw(peer, [submission])
        assert withdrawals.finish_all() == 1
        with pytest.raises(CoordinatorBusy):
            withdrawals.allow(peer, submission)
    assert withdrawals.finish_all() == 0
    withdrawals.allow(peer, submission)
    with store.read() as reading:
        events = reading.log_size()
    withdrawals.allow(peer, submission)  # again: nothing is left to allow
    with store.read() as reading:
        assert reading.log_size() == events
        event = reading.events(after=events - 1, limit=1)[0]
    assert (event.action, event.object) == ("resubmission allowed", submission)
