"""Read the audit log: a page of its events, or the whole chain checked against the receipts that were issued."""

from collections.abc import Iterator, Sequence

from coordinator.store.audit_chain import AuditEvent, ChainReport, verify
from coordinator.store.interface import Reading, Store
from shared.frozen import LARGEST_NUMBER
from shared.ids import Sha256
from shared.receipt import Receipt

PAGE = 1000  # events


class AuditService:
    """The audit log of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def events(self, *, after: int, limit: int) -> Sequence[AuditEvent]:
        """Events numbered above `after`, at most `limit` of them (0: a whole page) and never more than a page."""
        with self._store.read() as reading:
            return reading.events(after=min(after, LARGEST_NUMBER), limit=min(limit or PAGE, PAGE))

    def verify(self) -> ChainReport:
        """Recompute the whole chain, and check that every stored receipt names an event of it."""
        with self._store.read() as reading:
            return verify(every_event(reading), receipt_heads(reading))


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
