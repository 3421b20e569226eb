"""Reports of running nodes on the wire."""

import grpc

from coordinator.presence.service import Contact, PresenceService
from coordinator.trust.interceptor import peer_of
from shared.ids import SiteId
from shared.proto.ricord.v1 import presence_pb2 as pb
from shared.proto.ricord.v1.presence_pb2_grpc import PresenceServiceServicer
from shared.wire import from_timestamp, to_timestamp

_AS_THEY_ARE = [field.name for field in pb.Presence.DESCRIPTOR.fields if field.message_type is None]


class PresenceServicer(PresenceServiceServicer):
    """What a node reports of itself."""

    def __init__(self, service: PresenceService) -> None:
        self._service = service

    def ReportPresence(
        self, request: pb.ReportPresenceRequest, context: grpc.ServicerContext
    ) -> pb.ReportPresenceResponse:
        """The caller's latest."""
        presence = request.presence
        ends = from_timestamp(presence.certificate_ends_at)
        values = {name: getattr(presence, name) for name in _AS_THEY_ARE} | {"certificate_ends_at": ends}
        self._service.report(SiteId(peer_of(context).name), values)
        return pb.ReportPresenceResponse()


def contact_message(contact: Contact) -> pb.Contact:
    """The contact with a site as a message."""
    presence = contact.presence
    return pb.Contact(
        at=to_timestamp(presence.reported_at),
        age_seconds=int(contact.age.total_seconds()),
        silent=contact.silent,
        presence=pb.Presence(
            certificate_ends_at=to_timestamp(presence.certificate_ends_at),
            **{name: getattr(presence, name) for name in _AS_THEY_ARE},
        ),
    )
