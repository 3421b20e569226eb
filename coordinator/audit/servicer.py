"""The audit log on the wire; each method is one call of the service."""

from typing import TYPE_CHECKING

import grpc

from coordinator.audit.service import AuditService
from coordinator.trust.interceptor import peer_of
from shared.ids import SiteId
from shared.proto.ricord.v1 import audit_pb2 as pb
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceServicer
from shared.wire import from_signed, to_signed, to_timestamp

if TYPE_CHECKING:
    from coordinator.store.audit_chain import AuditEvent


class AuditServicer(AuditServiceServicer):
    """Reading the log, recomputing its chain, proving that it only grew."""

    def __init__(self, service: AuditService) -> None:
        self._service = service

    def ListAuditEvents(
        self, request: pb.ListAuditEventsRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditEventsResponse:
        """A page of events."""
        events = self._service.events(after=request.after, limit=request.limit, newest_first=request.newest_first)
        return pb.ListAuditEventsResponse(events=[_message(event) for event in events])

    def VerifyAudit(self, request: pb.VerifyAuditRequest, context: grpc.ServicerContext) -> pb.VerifyAuditResponse:
        """Recompute the whole chain and check every stored receipt and the kept head against it."""
        report, kept, signed = self._service.verify()
        return pb.VerifyAuditResponse(
            intact=report.intact,
            events=report.events,
            head=report.head,
            broken_at=report.broken_at,
            root=report.root,
            kept=kept.size if kept else 0,
            signed=to_signed(signed),
        )

    def GetProof(self, request: pb.GetProofRequest, context: grpc.ServicerContext) -> pb.GetProofResponse:
        """The head of now and what it contains."""
        proof = self._service.prove(request.size, request.numbers)
        return pb.GetProofResponse(
            head=to_signed(proof.head),
            consistency=proof.consistency,
            paths=[pb.InclusionPath(hashes=path) for path in proof.paths],
        )

    def ReturnReceipts(
        self, request: pb.ReturnReceiptsRequest, context: grpc.ServicerContext
    ) -> pb.ReturnReceiptsResponse:
        """Note which receipts of the calling site are of nothing that is here."""
        receipts = [from_signed(each) for each in request.receipts]
        return pb.ReturnReceiptsResponse(missing=self._service.take_back(SiteId(peer_of(context).name), receipts))


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
