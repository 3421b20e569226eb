"""Commit what arrived whole: uploads that end while a transaction lasts are committed together in the next one.

One sync of the disk serves all of them. Nobody waits for others to come, and no receipt leaves before its row is
durable.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from coordinator.home.identity import Clock, Identity
from coordinator.store.ciphertext import PartialCiphertext
from coordinator.store.interface import Store, Work
from coordinator.store.records import Submission
from coordinator.submission.claims import Claims
from coordinator.submission.lookup import blob_name, standing_submission
from shared.agreement import AgreementTerms
from shared.crypto.pki import Role
from shared.errors.base import RicordError
from shared.errors.storage import DiskFull
from shared.errors.transport import CoordinatorBusy, StoreUnreachable
from shared.ids import SiteId
from shared.manifest import Manifest
from shared.receipt import Receipt
from shared.signed import Signed

_PASSING = (StoreUnreachable, CoordinatorBusy, DiskFull)  # each of those who wait would meet it
_IN_RECEIPT = {
    "site_id",
    "agreement",
    "agreement_version",
    "sequence",
    "contents_sha256",
    "ciphertext_sha256",
    "ciphertext_size",
}


class Received(NamedTuple):
    """The receipt of a study that was committed before, and the manifest that it is over."""

    receipt: Signed
    manifest: Signed


@dataclass(eq=False)
class Arrival:
    """A ciphertext that is final and durable, and waits for its row; `ended` once that is durable, or refused."""

    site_id: SiteId
    signed: Signed
    manifest: Manifest
    ciphertext: PartialCiphertext
    ended: Future[Signed | Received] = field(default_factory=Future)


class Commits:
    """Row, audit event and receipt of each arrival, together or not at all."""

    def __init__(self, store: Store, claims: Claims, identity: Identity, clock: Clock) -> None:
        self._store = store
        self._claims = claims
        self._identity = identity
        self._now = clock
        self._waiting = deque[Arrival]()
        self._committing = threading.Lock()

    def commit(self, arrival: Arrival) -> Signed | Received:
        """The receipt, once this thread or that of another arrival has committed it.

        Raises what `Claims.terms_of_member` and `Claims.check` raise, `StoreUnreachable`, `DiskFull`.
        """
        self._waiting.append(arrival)
        with self._committing:
            if not arrival.ended.done():
                waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
                others = [each for each in waiting if each is not arrival]
                try:
                    self._commit_all([arrival, *others])
                except Exception:
                    if not others:
                        raise
                    self._commit_all([arrival])  # another may be to blame: each of them is tried once more
        return arrival.ended.result()

    def _commit_all(self, arrivals: Sequence[Arrival]) -> None:
        try:
            with self._store.begin() as work:
                terms = dict[SiteId, AgreementTerms]()
                outcomes = [self._judge(work, arrival, terms) for arrival in arrivals]
        except _PASSING as error:
            outcomes = [error] * len(arrivals)
        for arrival, outcome in zip(arrivals, outcomes, strict=True):
            if isinstance(outcome, RicordError):
                arrival.ended.set_exception(outcome)
            else:
                arrival.ended.set_result(outcome)

    def _judge(
        self, work: Work, arrival: Arrival, known: dict[SiteId, AgreementTerms]
    ) -> Signed | Received | RicordError:
        """Commit an arrival, or refuse it before anything of it is written; `known` are terms asked before."""
        site_id, manifest = arrival.site_id, arrival.manifest
        try:
            if site_id not in known:
                known[site_id] = self._claims.terms_of_member(work, site_id, manifest.agreement)
            self._claims.check(work, site_id, manifest, known[site_id])
        except RicordError as refusal:
            return refusal
        name, key = blob_name(manifest), manifest.submission
        work.delete_upload(name)
        committed = standing_submission(work, key)
        if committed is None:
            return self._add(work, arrival, known[site_id].curator.name)
        if blob_name(committed) != name:  # sealed twice, and the other one was first
            arrival.ciphertext.discard()
        return Received(committed.receipt, committed.manifest)

    def _add(self, work: Work, arrival: Arrival, curator: str) -> Signed:
        manifest, now = arrival.manifest, self._now()
        uri = self._identity.uri(Role.SITE, arrival.site_id)
        event = work.append_event(at=now, actor=uri, action="study received", about=manifest.submission)
        stated = manifest.model_dump(include=_IN_RECEIPT)
        receipt = Receipt(
            submission=manifest.submission,
            study=manifest.study,
            received_at=now,
            audit_number=event.number,
            audit_head=event.digest,
            **stated,
        )
        signed = Signed.by(self._identity.signing_key, receipt)
        work.put_submission(  # in place of one that was withdrawn and may come again
            Submission(
                id=manifest.submission,
                number=event.number,
                curator=curator,
                study=manifest.study,
                manifest=arrival.signed,
                receipt=signed,
                received_at=now,
                changed=event.number,
                **stated,
            )
        )
        return signed
