"""Read the audit log: pages of events, proofs that it only grew, the whole chain checked against what was signed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.audit_chain import GENESIS, AuditEvent, ChainReport, digest_of, verify
from coordinator.store.interface import Reading, Store
from shared.audit_head import AuditHead, root_digest
from shared.crypto.pki import Role
from shared.durable import write_whole
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import AuditBroken, SignatureInvalid
from shared.frozen import LARGEST_NUMBER
from shared.ids import Sha256, SiteId
from shared.manifest import canonical_json
from shared.merkle import Span, consistency_spans, hash_of, inclusion_spans, whole_subtrees
from shared.receipt import Receipt
from shared.signed import Signed

PAGE = 1000  # events
MOST_NUMBERS = 200  # events in one request for proofs
RETURNED = "receipt returned"
_NEWEST = 100  # events that are looked at in a moment
_KEPT = "the kept head of the audit log"


class Proof(NamedTuple):
    """A signed head, and the hashes that show that it contains an earlier one and each of several events."""

    head: Signed
    consistency: Sequence[bytes]
    paths: Sequence[Sequence[bytes]]


class AuditService:
    """The audit log of one store; `kept` is the file of the last head that was signed."""

    def __init__(self, store: Store, identity: Identity, kept: Path, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._kept = kept
        self._now = clock

    def events(self, *, after: int, limit: int, newest_first: bool = False) -> Sequence[AuditEvent]:
        """Events numbered above `after`, at most `limit` of them (0: a whole page) and never more than a page.

        With `newest_first` those below `after`, or the last ones where it is 0.
        """
        most = min(limit or PAGE, PAGE)
        with self._store.read() as reading:
            if not newest_first:
                return reading.events(after=min(after, LARGEST_NUMBER), limit=most)
            size = reading.log_size()
            last = min(after - 1, size) if after else size
            return reading.events(after=max(last - most, 0), limit=min(most, last))[::-1]

    def prove(self, size: int, numbers: Sequence[int]) -> Proof:
        """The head of now, with proofs of a head of `size` events (0: none) and of the events of some numbers.

        What is not in the log has an empty proof. Raises `InvalidArgument` for too many numbers, `AuditBroken` where
        one of the events, or what the proof needs, is missing or was changed.
        """
        if len(numbers) > MOST_NUMBERS:
            raise InvalidArgument(name="numbers", problem=f"at most {MOST_NUMBERS} are proven at once")
        with self._store.read() as reading:
            here = reading.log_size()
            for number in numbers:
                if 0 < number <= here:
                    _check_event(reading, number)
            earlier = consistency_spans(size, here) if 0 < size < here else ()
            beside = [inclusion_spans(number - 1, here) if 0 < number <= here else () for number in numbers]
            spans: set[Span] = {(0, here), *earlier, *(span for path in beside for span in path)}
            hashes = reading.tree_hashes({subtree for span in spans for subtree in whole_subtrees(span)})
        above = {span: hash_of(span, hashes) for span in spans}
        head = self._signed(here, root_digest(above[0, here]))
        return Proof(head, [above[span] for span in earlier], [[above[span] for span in path] for path in beside])

    def verify(self) -> tuple[ChainReport, AuditHead | None, Signed]:
        """Recompute the whole log against every stored receipt and the kept head; returns that, and the head of now.

        Raises `AuditBroken` where the stored tree is not that of the log, `SignatureInvalid` for a kept head that this
        coordinator did not sign.
        """
        kept = self._kept_head()
        with self._store.read() as reading:
            report = verify(every_event(reading), receipt_heads(reading), kept)
            if report.intact and _root(reading, report.events) != report.root:
                raise AuditBroken("the stored tree is another", number=str(report.events))
        return report, kept, self._signed(report.events, report.root)

    def check_newest(self) -> int:
        """Check in a moment that the log contains the kept head, and that its newest events follow each other.

        Returns how many events the log has; raises `AuditBroken`, `SignatureInvalid`.
        """
        kept = self._kept_head()
        with self._store.read() as reading:
            here = reading.log_size()
            _check_contains(reading, kept, here)
            for number in range(max(here - _NEWEST, 0) + 1, here + 1):
                _check_event(reading, number)
        return here

    def keep_head(self) -> None:
        """Sign and keep the head of a log that grew; raises `AuditBroken` for one that does not contain the kept head.

        Then the kept one stays: it is the evidence.
        """
        kept = self._kept_head()
        with self._store.read() as reading:
            here = reading.log_size()
            _check_contains(reading, kept, here)
            root = _root(reading, here)
        if kept is None or here > kept.size:
            write_whole(self._kept, canonical_json(self._signed(here, root)), mode=0o600)

    def take_back(self, site_id: SiteId, receipts: Sequence[Signed]) -> Sequence[Sha256]:
        """Receipts of a site, of studies that this coordinator received before it was restored from a backup.

        Each of which there is no row becomes an entry; returns the ids of these. Raises `InvalidArgument` for too many
        or another site's, `SignatureInvalid` for what this coordinator did not sign.
        """
        if len(receipts) > MOST_NUMBERS:
            raise InvalidArgument(name="receipts", problem=f"at most {MOST_NUMBERS} are returned at once")
        key = self._identity.signing_key.public
        returned = [signed.verified(key, Receipt, what="a returned receipt") for signed in receipts]
        if any(receipt.site_id != site_id for receipt in returned):
            raise InvalidArgument(name="receipts", problem="one is another site's")
        with self._store.begin() as work:
            missing = [receipt for receipt in returned if work.submission(receipt.submission) is None]
            for receipt in missing:
                actor, about = self._identity.uri(Role.SITE, site_id), receipt.submission
                work.append_event(at=self._now(), actor=actor, action=RETURNED, about=about)
        return [receipt.submission for receipt in missing]

    def _signed(self, size: int, root: Sha256) -> Signed:
        head = AuditHead(federation=self._identity.federation, size=size, root=root, signed_at=self._now())
        return Signed.by(self._identity.signing_key, head)

    def _kept_head(self) -> AuditHead | None:
        if not self._kept.exists():
            return None
        try:
            signed = Signed.model_validate_json(self._kept.read_bytes())
        except ValidationError as error:
            raise SignatureInvalid("no signed document", what=_KEPT) from error
        return signed.verified(self._identity.signing_key.public, AuditHead, what=_KEPT)


def _root(reading: Reading, size: int) -> Sha256:
    return root_digest(hash_of((0, size), reading.tree_hashes(whole_subtrees((0, size)))))


def _check_contains(reading: Reading, kept: AuditHead | None, here: int) -> None:
    """Raise `AuditBroken` unless the log of `here` events contains the kept head."""
    if kept is not None and here < kept.size:
        raise AuditBroken("shorter than the kept head", number=str(here + 1))
    if kept is not None and _root(reading, kept.size) != kept.root:
        raise AuditBroken("another than the kept head", number=str(kept.size))


def _check_event(reading: Reading, number: int) -> None:
    """Raise `AuditBroken` where the event of that number, at most the last, is missing or not what its digest says."""
    events = reading.events(after=max(number - 2, 0), limit=min(number, 2))
    previous = events[0].digest if number > 1 else GENESIS
    if events[-1].number != number or events[-1].digest != digest_of(events[-1], previous):
        raise AuditBroken(number=str(number))


def every_event(reading: Reading) -> Iterator[AuditEvent]:
    """The whole log in order, read a page at a time."""
    last = 0
    while page := reading.events(after=last, limit=PAGE):
        yield from page
        last = page[-1].number


def receipt_heads(reading: Reading) -> Iterator[tuple[int, Sha256]]:
    """Number and digest of the event that each stored receipt names; sites hold the same receipts."""
    last = 0
    while page := reading.submissions(after=last, limit=PAGE):
        for row in page:
            receipt = row.receipt.unsafe_parsed(Receipt, what="a stored receipt")
            yield receipt.audit_number, receipt.audit_head
        last = page[-1].number
