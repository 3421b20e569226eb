"""Audit: the coordinator's log, the latest first."""

from coordinator.console.centre import Centre
from coordinator.console.moments import moment_of
from shared.proto.ricord.v1 import audit_pb2 as pb
from shared.proto.ricord.v1.audit_pb2_grpc import AuditServiceStub
from shared.web.console import Page
from shared.web.visit import Answer, Shown, Visit

_ON_A_PAGE = 100


class AuditPages:
    """The list."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (Page("GET", "/audit", self._events),)

    def _events(self, visit: Visit) -> Answer:
        page = visit.page_number
        with self._centre.asking(visit.person) as asking:
            call = AuditServiceStub(asking.channel).ListAuditEvents
            newest = asking.ask(call, pb.ListAuditEventsRequest(limit=1, newest_first=True)).events
            total = newest[0].number if newest else 0
            after = max(total + 1 - (page - 1) * _ON_A_PAGE, 1)
            request = pb.ListAuditEventsRequest(after=after, limit=_ON_A_PAGE, newest_first=True)
            events = asking.ask(call, request).events
        rows = [(event, moment_of(event.at)) for event in events]
        pages = max(1, -(-total // _ON_A_PAGE))
        return Shown("audit.html", {"rows": rows, "total": total, "page": page, "pages": pages})
