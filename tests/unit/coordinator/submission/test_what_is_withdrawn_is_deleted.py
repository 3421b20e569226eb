"""A withdrawal ends with its receipts, wherever it was cut short; what was withdrawn comes again only if allowed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from coordinator.curation.keys import load_curator_keys
from coordinator.curation.membership import CuratorHome
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.records import Submission
from coordinator.store.sql import SqlStore
from coordinator.store.work import SqlWork
from coordinator.submission.lookup import blob_name
from coordinator.submission.service import SubmissionService
from coordinator.submission.withdrawals import WithdrawalService, finishing
from shared.agreement import State
from shared.crypto.pki import Peer, Role
from shared.errors.agreements import AgreementNotExecuted, SubmissionWithdrawn
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import CoordinatorBusy, StoreUnreachable
from shared.errors.trust import RoleNotAllowed
from shared.ids import Sha256
from shared.signed import Signed, of_manifest
from shared.submission_state import SubmissionState
from shared.withdrawal import Deletion, Purge
from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.study import Sealed
from tests.factories.federation import Federation, sealed_bytes

OPERATOR = Peer(federation="test-federation", role=Role.COORDINATOR, name="operator")


class Killed(BaseException):
    """Nothing after it is done: no handler of errors sees it."""


@pytest.fixture
def withdrawals(store: SqlStore, ciphertexts: CiphertextStore, federation: Federation) -> WithdrawalService:
    return WithdrawalService(store, ciphertexts, federation.identity)


@pytest.fixture
def site(member: tuple[SiteHome, Membership]) -> Peer:
    return Peer(federation="test-federation", role=Role.SITE, name=member[1].site_id)


def send(service: SubmissionService, sealed: Sealed) -> Sha256:
    manifest = sealed.manifest.manifest
    list(service.receive(manifest.site_id, of_manifest(sealed.manifest), 0, [sealed.ciphertext.read_bytes()]))
    return manifest.submission


def row_of(store: SqlStore, submission: Sha256) -> Submission:
    with store.read() as reading:
        row = reading.submission(submission)
    assert row is not None
    return row


@contextmanager
def killed_at(step: int, store: SqlStore, ciphertexts: CiphertextStore) -> Iterator[None]:
    """The process ends before, or right after, the deletion of a ciphertext or a change of the store."""
    left = [step]

    def dying(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise Killed
            result = act(*args, **kwargs)
            left[0] -= 1
            if left[0] == -1:
                raise Killed
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ciphertexts, "delete", dying(ciphertexts.delete))
        for name in ("put_withdrawal", "put_submission", "append_event"):
            patch.setattr(SqlWork, name, dying(getattr(SqlWork, name)))
        with suppress(Killed):
            yield


@pytest.mark.parametrize("step", range(14))
def test_it_ends_wherever_it_was_killed(
    store: SqlStore,
    ciphertexts: CiphertextStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    *,
    site: Peer,
    step: int,
) -> None:
    """Either nothing was withdrawn, or it is finished after the restart: no tombstone stays beside a ciphertext."""
    submission = send(service, sealed_bytes(*member, 9))
    with killed_at(step, store, ciphertexts):
        withdrawals.withdraw(site, [submission])
    assert withdrawals.finish_all() == 0
    row = row_of(store, submission)
    with store.read() as reading:
        tombstones = reading.withdrawals(site_id=row.site_id, study=row.study)
    there = ciphertexts.is_final(blob_name(row))
    assert (row.state is SubmissionState.WITHDRAWN) == (len(tombstones) == 1) == (not there)
    receipts = withdrawals.withdraw(site, [submission])
    assert not ciphertexts.is_final(blob_name(row))
    assert withdrawals.withdraw(site, [submission]) == receipts
    key = withdrawals._identity.signing_key.public
    deletion = receipts[0].verified(key, Deletion, what="the receipt")
    assert (deletion.submission, deletion.site_id, deletion.study) == (submission, row.site_id, row.study)
    with store.read() as reading:
        (event,) = reading.events(after=deletion.audit_number - 1, limit=1)
    assert (event.action, event.object, event.digest) == ("ciphertext deleted", submission, deletion.audit_head)


def test_a_withdrawn_study_comes_again_only_if_allowed_by_who_withdrew_it(
    store: SqlStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    site: Peer,
) -> None:
    """The same contents or others, at the offset already; once allowed it is received anew, with a receipt of now."""
    first = sealed_bytes(*member, 9)
    other = sealed_bytes(*member, 9, study=first.manifest.manifest.study)
    submission = send(service, first)
    before = row_of(store, submission)
    withdrawals.withdraw(OPERATOR, [submission])
    for sealed in (first, other):
        with pytest.raises(SubmissionWithdrawn):
            service.offset(member[1].site_id, of_manifest(sealed.manifest))
    with pytest.raises(RoleNotAllowed):
        withdrawals.allow(site, submission)
    with pytest.raises(SubmissionWithdrawn):
        service.fetch("curator", submission)
    withdrawals.allow(OPERATOR, submission)
    assert send(service, first) == submission
    after = row_of(store, submission)
    assert (after.state, after.number > before.number) == (SubmissionState.RECEIVED, True)
    assert after.receipt != before.receipt
    send(service, other)
    withdrawals.withdraw(site, [submission])
    assert row_of(store, submission).state is SubmissionState.WITHDRAWN
    beside = other.manifest.manifest.submission
    assert row_of(store, beside).state is SubmissionState.RECEIVED
    withdrawals.withdraw(site, [beside])
    assert row_of(store, beside).state is SubmissionState.WITHDRAWN


def test_a_study_withdrawn_on_its_way_leaves_nothing(
    ciphertexts: CiphertextStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    site: Peer,
) -> None:
    """It is asked again at the commit, and what arrived is deleted."""
    first = sealed_bytes(*member, 9)
    slow = sealed_bytes(*member, 9, study=first.manifest.manifest.study)
    send(service, first)

    def overtaken() -> Iterator[bytes]:
        yield slow.ciphertext.read_bytes()
        withdrawals.withdraw(site, [first.manifest.manifest.submission])

    with pytest.raises(SubmissionWithdrawn):
        list(service.receive(member[1].site_id, of_manifest(slow.manifest), 0, overtaken()))
    assert not ciphertexts.durable(blob_name(slow.manifest.manifest))


def test_images_are_withdrawn_and_the_rest_comes_again(
    store: SqlStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    site: Peer,
) -> None:
    """Of a single submission; the same contents are refused, others of the study are not; more can be withdrawn."""
    first = sealed_bytes(*member, 9)
    rest = sealed_bytes(*member, 9, study=first.manifest.manifest.study)
    submission = send(service, first)
    withdrawals.withdraw(site, [submission], ["1.2.3"])
    assert row_of(store, submission).state is SubmissionState.WITHDRAWN
    with pytest.raises(SubmissionWithdrawn):
        service.offset(member[1].site_id, of_manifest(first.manifest))
    second = send(service, rest)
    (more,) = withdrawals.withdraw(site, [submission], ["1.2.4"])
    assert '"instances":["1.2.4"]' in more.document
    assert row_of(store, second).state is SubmissionState.RECEIVED
    with pytest.raises(InvalidArgument):
        withdrawals.withdraw(site, [submission, second], ["1.2.3"])


def test_what_was_left_undone_is_finished_again_and_again(
    withdrawals: WithdrawalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once and each time after, also where the store was away before; and not after the block."""
    calls, ended, enough = list[None](), list[None](), threading.Event()

    def finish_all() -> int:
        calls.append(None)
        if len(calls) == 3:
            enough.set()
            time.sleep(0.1)
        ended.append(None)
        raise StoreUnreachable(kind="a database", setting="database")

    monkeypatch.setattr(withdrawals, "finish_all", finish_all)
    monkeypatch.setattr("coordinator.submission.withdrawals._EVERY_SECONDS", 0.01)
    with finishing(withdrawals):
        assert enough.wait(60)
    assert len(ended) == len(calls)
    monkeypatch.setattr("coordinator.submission.withdrawals._EVERY_SECONDS", 60)
    calls.clear()
    with finishing(withdrawals):
        time.sleep(0.05)
    assert len(calls) <= 1


def test_each_of_several_has_its_own_receipts(
    store: SqlStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    *,
    site: Peer,
    federation: Federation,
) -> None:
    """Withdrawn in one request, finished once more, and purged one by one."""
    submissions = [send(service, sealed_bytes(*member, 9)) for _ in range(3)]
    receipts = withdrawals.withdraw(site, submissions)
    key = withdrawals._identity.signing_key.public
    assert [receipt.verified(key, Deletion, what="").submission for receipt in receipts] == submissions
    rows = withdrawals.page(site, after=0).rows[-3:]
    with store.read() as reading:
        events = reading.log_size()
    assert [withdrawals._finish(row.model_copy(update={"deletion": None})) for row in rows] == receipts
    signing = load_curator_keys(CuratorHome(federation.folder / "curator-curator").keys).signing
    for row in reversed(rows):
        purge = Purge(number=row.number, submission=row.submission, purged_at=row.withdrawn_at)
        withdrawals.note_purge("curator", Signed.by(signing, purge))
    with store.read() as reading:
        assert [event.object for event in reading.events(after=events)] == submissions[::-1]


def test_of_what_both_sides_withdrew_neither_allows_the_others(
    service: SubmissionService, withdrawals: WithdrawalService, member: tuple[SiteHome, Membership], site: Peer
) -> None:
    """The site some images, then the coordinators all of it."""
    submission = send(service, sealed_bytes(*member, 9))
    withdrawals.withdraw(site, [submission], ["1.2.3"])
    withdrawals.withdraw(OPERATOR, [submission])
    for peer in (site, OPERATOR):
        with pytest.raises(RoleNotAllowed):
            withdrawals.allow(peer, submission)


def test_nothing_comes_again_before_all_of_it_is_deleted(
    service: SubmissionService,
    withdrawals: WithdrawalService,
    ciphertexts: CiphertextStore,
    member: tuple[SiteHome, Membership],
    *,
    site: Peer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where one of several withdrawals is finished; that one, said again, asks for no ciphertext."""
    submission = send(service, sealed_bytes(*member, 9))
    receipts = withdrawals.withdraw(site, [submission], ["1.2.3"])
    with monkeypatch.context() as busy:
        busy.setattr(ciphertexts, "delete", lambda name: False)
        assert withdrawals.withdraw(site, [submission], ["1.2.3"]) == receipts
        for act in (lambda: withdrawals.withdraw(site, [submission]), lambda: withdrawals.allow(site, submission)):
            with pytest.raises(CoordinatorBusy):
                act()
    assert withdrawals.finish_all() == 0
    withdrawals.allow(site, submission)


def test_what_was_withdrawn_before_says_nothing_new(
    store: SqlStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    site: Peer,
) -> None:
    """Images of an earlier withdrawal, or after the whole study: the same receipt; one image more is another."""
    submission, receipts = send(service, sealed_bytes(*member, 9)), list[Signed]()
    for instances, new in (
        (("1.2.3", "1.2.4"), True), (("1.2.4", "1.2.3"), False), (("1.2.3",), False), (("1.2.3", "1.2.5"), True),
        (("1.2.3", "1.2.4", "1.2.5"), True), ((), True), ((), False), (("1.2.6",), False),
    ):  # fmt: skip
        with store.read() as reading:
            events = reading.log_size()
        [receipt] = withdrawals.withdraw(site, [submission], instances)
        assert (receipt not in receipts) is new
        receipts.append(receipt)
        with store.read() as reading:
            actions = [event.action for event in reading.events(after=events)]
        what = "instances withdrawn" if instances else "study withdrawn"
        assert actions == ([what, "ciphertext deleted"] if new else [])


def test_a_site_withdraws_its_own_only(
    federation: Federation,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    store: SqlStore,
) -> None:
    """Another's is not there for it; nothing is changed, also of its own in the same request."""
    submission = send(service, sealed_bytes(*member, 9))
    stranger = Peer(federation="test-federation", role=Role.SITE, name="999998")
    for act in (lambda: withdrawals.withdraw(stranger, [submission]), lambda: withdrawals.allow(stranger, submission)):
        with pytest.raises(NotFound):
            act()
    assert row_of(store, submission).state is SubmissionState.RECEIVED
    assert all(row.site_id == "999998" for row in withdrawals.page(stranger, after=0).rows)


@pytest.mark.parametrize("state", [State.SUSPENDED, State.TERMINATED, State.EXPIRED, State.SIGNED])
def test_the_state_of_the_agreement_says_who_may_withdraw(
    store: SqlStore,
    service: SubmissionService,
    withdrawals: WithdrawalService,
    member: tuple[SiteHome, Membership],
    state: State,
) -> None:
    """Suspended, terminated and expired ones still permit it."""
    submission = send(service, sealed_bytes(*member, 9))
    with store.begin() as work:
        agreement = work.agreement(member[1].agreement)
        assert agreement is not None
        past = withdrawals._now() - timedelta(days=1)
        expired = {"expires_at": past} if state is State.EXPIRED else {"state": state}
        work.put_agreement(agreement.model_copy(update=expired))
    try:
        if state is State.SIGNED:
            with pytest.raises(AgreementNotExecuted):
                withdrawals.withdraw(OPERATOR, [submission])
        else:
            assert isinstance(withdrawals.withdraw(OPERATOR, [submission])[0], Signed)
    finally:
        with store.begin() as work:
            work.put_agreement(agreement)
