"""The audit chain on the wire."""

from collections.abc import Iterator

import grpc

from coordinator.store.audit_chain import AuditEvent, verify
from coordinator.store.interface import Reading, Store
from shared.ids import Sha256
from shared.proto.ricord.v1 import audit_pb2 as pb
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceServicer
from shared.receipt import Receipt
from shared.wire import to_timestamp

PAGE = 1000  # events


class AuditServicer(AuditServiceServicer):
    """Reading the log and recomputing its chain."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditEventsResponse:
        """A page of events."""
        with self._store.read() as reading:
            found = reading.events(after=request.after, limit=min(request.limit or PAGE, PAGE))
        return pb.ListAuditEventsResponse(events=[_message(event) for event in found])

    def VerifyAudit(self, request: pb.VerifyAuditRequest, context: grpc.ServicerContext) -> pb.VerifyAuditResponse:
        """The whole chain, and whether every receipt kept here names an event of it."""
        with self._store.read() as reading:
            report = verify(every_event(reading), receipted(reading))
        return pb.VerifyAuditResponse(
            intact=report.intact, events=report.events, head=report.head, broken_at=report.broken_at
        )


def every_event(reading: Reading) -> Iterator[AuditEvent]:
    """The whole log in order, a page at a time."""
    last = 0
    while page := reading.events(after=last, limit=PAGE):
        yield from page
        last = page[-1].number


def receipted(reading: Reading) -> Iterator[tuple[int, Sha256]]:
    """Number and digest of the event that each stored receipt names; sites hold the same receipts."""
    for row in reading.submissions():
        receipt = row.receipt.unsafe_parsed(Receipt, what="a stored receipt")
        yield receipt.audit_number, receipt.audit_head


def _message(event: AuditEvent) -> pb.AuditEvent:
    return pb.AuditEvent(
        number=event.number,
        at=to_timestamp(event.at),
        actor=event.actor,
        action=event.action,
        object=event.object,
        result=event.result,
        digest=event.digest,
    )
