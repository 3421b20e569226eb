"""Withdraw submissions: a tombstone first, durable; then the ciphertext goes; then the receipt of deletion is signed.

What a kill leaves between these steps is finished by `finish_all`. The curator learns of tombstones and says what it
purged. A withdrawn study is received again only where the side that withdrew it allows that.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from coordinator.agreements.lifecycle import Act, check_permitted
from coordinator.agreements.lookup import agreement_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.interface import Store, Work
from coordinator.store.paging import read_page
from coordinator.store.records import Submission, Withdrawal
from coordinator.submission.decisions import signing_key
from coordinator.submission.lookup import blob_name, named_submission
from shared.crypto.pki import Peer, Role
from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, NotFound
from shared.errors.transport import CoordinatorBusy
from shared.errors.trust import RoleNotAllowed
from shared.frozen import LARGEST_NUMBER
from shared.ids import Uid
from shared.signed import Signed
from shared.submission_state import SubmissionState
from shared.withdrawal import MOST_INSTANCES, Deletion, Purge

PAGE = 100  # withdrawals; each may list many instances
MOST = 1000  # submissions in one request

_EVERY_SECONDS = 60.0


class Page(NamedTuple):
    """A part of the list of withdrawals; `next` is what the rest comes after, 0 where there is none."""

    rows: Sequence[Withdrawal]
    next: int


class WithdrawalService:
    """Withdrawals, from either side to both receipts."""

    def __init__(self, store: Store, ciphertexts: CiphertextStore, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._ciphertexts = ciphertexts
        self._identity = identity
        self._now = clock

    def withdraw(self, peer: Peer, submissions: Sequence[str], instances: Sequence[str] = ()) -> Sequence[Signed]:
        """Withdraw submissions, or instances of a single one, for a site its own; returns the receipts of deletion.

        Said again, it changes nothing and returns the same. Raises `NotFound`, `InvalidArgument`,
        `AgreementNotExecuted` where the state of the agreement permits no withdrawal, and `CoordinatorBusy` while
        something writes the ciphertext: the tombstones stand by then.
        """
        if len(submissions) > MOST or len(instances) > MOST_INSTANCES or (instances and len(submissions) != 1):
            raise InvalidArgument(name="The withdrawal", problem="name instances of one submission, or fewer of them")
        uids = tuple(sorted({Uid(instance) for instance in instances}))
        with self._store.begin() as work:
            tombstones = [self._bury(work, peer, _own(work, peer, each), uids) for each in submissions]
        return [self._finish(tombstone) for tombstone in tombstones]

    def finish_all(self) -> int:
        """Finish what a kill, or a ciphertext in use, left undone; returns how many are still to be finished."""
        with self._store.read() as reading:
            undone = reading.withdrawals(unfinished="deletion")
        left = 0
        for tombstone in undone:
            try:
                self._finish(tombstone)
            except RicordError:
                left += 1
        return left

    def allow(self, peer: Peer, submission: str) -> None:
        """Let a withdrawn study be received again; raises `RoleNotAllowed` for the side that did not withdraw it."""
        with self._store.begin() as work:
            row = _own(work, peer, submission)
            standing = [each for each in work.withdrawals(site_id=row.site_id, study=row.study) if not each.allowed_at]
            if not standing:
                return
            if any(each.by != peer.role for each in standing):
                raise RoleNotAllowed("another side withdrew it", role=peer.role)
            if any(each.deletion is None for each in standing):
                raise CoordinatorBusy(seconds="10")
            for each in standing:
                work.put_withdrawal(each.model_copy(update={"allowed_at": self._now()}))
            work.append_event(at=self._now(), actor=peer.uri, action="resubmission allowed", about=row.id)

    def page(self, peer: Peer, *, after: int, limit: int = 0, unpurged: bool = False) -> Page:
        """The withdrawals numbered above `after`: a curator's, a site's own, or every one.

        With `unpurged`, those of which the curator has not said that it purged them.
        """
        curator = peer.name if peer.role is Role.CURATOR else None
        site_id = peer.name if peer.role is Role.SITE else None
        with self._store.read() as reading:
            rows, more = read_page(
                lambda limit: reading.withdrawals(
                    curator=curator,
                    site_id=site_id,
                    unfinished="purge" if unpurged else None,
                    after=min(after, LARGEST_NUMBER),
                    limit=limit,
                ),
                limit,
                PAGE,
            )
        return Page(rows, rows[-1].number if more else 0)

    def note_purge(self, curator: str, signed: Signed) -> None:
        """Keep what a curator says that it purged; raises `SignatureInvalid`, `NotFound`."""
        with self._store.begin() as work:
            purge = signed.verified(signing_key(work, curator, signed), Purge, what="the statement")
            rows = work.withdrawals(curator=curator, after=purge.number - 1, limit=1)
            if not rows or (rows[0].number, rows[0].submission) != (purge.number, purge.submission):
                raise NotFound(kind="withdrawal", name=str(purge.number))
            if rows[0].purge is None:
                work.put_withdrawal(rows[0].model_copy(update={"purge": signed}))
                uri = self._identity.uri(Role.CURATOR, curator)
                work.append_event(at=self._now(), actor=uri, action="study purged", about=purge.submission)

    def _bury(self, work: Work, peer: Peer, row: Submission, instances: tuple[Uid, ...]) -> Withdrawal:
        """The tombstone of a submission, made now unless there is one that says as much."""
        check_permitted(agreement_of(work, row.agreement), Act.WITHDRAW, self._now())
        earlier = work.withdrawals(site_id=row.site_id, study=row.study)
        for each in earlier:
            says_as_much = not each.instances or (instances and set(instances) <= set(each.instances))
            if each.submission == row.id and each.allowed_at is None and says_as_much:
                return each
        action = "instances withdrawn" if instances else "study withdrawn"
        event = work.append_event(at=self._now(), actor=peer.uri, action=action, about=row.id)
        tombstone = Withdrawal(
            number=event.number,
            submission=row.id,
            site_id=row.site_id,
            study=row.study,
            curator=row.curator,
            by=peer.role,
            instances=instances,
            ciphertext=blob_name(row),
            withdrawn_at=event.at,
        )
        work.put_withdrawal(tombstone)
        work.put_submission(
            row.model_copy(update={"state": SubmissionState.WITHDRAWN, "decision": None, "changed": event.number})
        )
        return tombstone

    def _finish(self, tombstone: Withdrawal) -> Signed:
        """Delete the ciphertext, then sign; each may be done again."""
        if tombstone.deletion is not None:
            return tombstone.deletion
        if not self._ciphertexts.delete(tombstone.ciphertext):
            raise CoordinatorBusy("the ciphertext is in use", seconds="10")
        with self._store.begin() as work:
            (here,) = work.withdrawals(after=tombstone.number - 1, limit=1)
            if here.deletion is not None:
                return here.deletion
            now = self._now()
            uri = self._identity.uri(Role.COORDINATOR, "server")
            event = work.append_event(at=now, actor=uri, action="ciphertext deleted", about=here.submission)
            deletion = Deletion(
                submission=here.submission,
                site_id=here.site_id,
                study=here.study,
                instances=here.instances,
                withdrawn_at=here.withdrawn_at,
                deleted_at=now,
                audit_number=event.number,
                audit_head=event.digest,
            )
            signed = Signed.by(self._identity.signing_key, deletion)
            work.put_withdrawal(here.model_copy(update={"deletion": signed}))
        return signed


@contextmanager
def finishing(withdrawals: WithdrawalService) -> Iterator[None]:
    """Finish what was left undone, at once and each minute, while the block runs."""
    stop = threading.Event()

    def finish() -> None:
        while not stop.is_set():
            with suppress(RicordError):  # the store is away; the next time
                withdrawals.finish_all()
            stop.wait(_EVERY_SECONDS)

    finisher = threading.Thread(target=finish, name="withdrawals")
    finisher.start()
    try:
        yield
    finally:
        stop.set()
        finisher.join()


def _own(work: Work, peer: Peer, reference: str) -> Submission:
    row = named_submission(work, reference)
    if peer.role is Role.SITE and row.site_id != peer.name:
        raise NotFound(kind="submission", name=reference)
    return row
