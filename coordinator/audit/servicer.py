"""The audit log on the wire; each method is one call of the service."""

from typing import TYPE_CHECKING

import grpc

from coordinator.audit.service import AuditService
from shared.proto.ricord.v1 import audit_pb2 as pb
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceServicer
from shared.wire import to_timestamp

if TYPE_CHECKING:
    from coordinator.store.audit_chain import AuditEvent


class AuditServicer(AuditServiceServicer):
    """Reading the log and recomputing its chain."""

    def __init__(self, service: AuditService) -> None:
        self._service = service

    def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditEventsResponse:
        """A page of events."""
        events = self._service.events(after=request.after, limit=request.limit)
        return pb.ListAuditEventsResponse(events=[_message(event) for event in events])

    def VerifyAudit(self, request: pb.VerifyAuditRequest, context: grpc.ServicerContext) -> pb.VerifyAuditResponse:
        """Recompute the whole chain and check every stored receipt against it."""
        report = self._service.verify()
        return pb.VerifyAuditResponse(
            intact=report.intact, events=report.events, head=report.head, broken_at=report.broken_at
        )


def _message(event: "AuditEvent") -> pb.AuditEvent:
    return pb.AuditEvent(
        number=event.number,
        at=to_timestamp(event.at),
        actor=event.actor,
        action=event.action,
        object=event.object,
        result=event.result,
        digest=event.digest,
    )
