"""Editions of the protocol on the wire."""

from typing import TYPE_CHECKING

import grpc

from coordinator.editions.service import EditionService
from coordinator.trust.interceptor import uri_of
from shared.proto.ricord.v1 import edition_pb2 as pb
from shared.proto.ricord.v1.edition_pb2_grpc import EditionServiceServicer
from shared.wire import from_timestamp, to_timestamp

if TYPE_CHECKING:
    from coordinator.store.records import Edition


class EditionServicer(EditionServiceServicer):
    """The coordinator's list."""

    def __init__(self, service: EditionService) -> None:
        self._service = service

    def ListEditions(self, request: pb.ListEditionsRequest, context: grpc.ServicerContext) -> pb.ListEditionsResponse:
        """All of them."""
        return pb.ListEditionsResponse(editions=map(self._message, self._service.editions()))

    def AcceptEdition(
        self, request: pb.AcceptEditionRequest, context: grpc.ServicerContext
    ) -> pb.AcceptEditionResponse:
        """Accept one until a moment."""
        until, actor = from_timestamp(request.until), uri_of(context)
        accepted = self._service.accept(request.reference, until, edition=request.edition, actor=actor)
        return pb.AcceptEditionResponse(edition=self._message(accepted))

    def _message(self, edition: "Edition") -> pb.Edition:
        return pb.Edition(
            protocol=edition.protocol,
            edition=edition.edition,
            digest=edition.digest,
            noted_at=to_timestamp(edition.noted_at),
            accepted_until=to_timestamp(edition.accepted_until) if edition.accepted_until else None,
            installed=self._service.is_installed(edition),
        )
