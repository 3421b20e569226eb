"""Audit: every decision of a person and every answer of the program, the latest first."""

from shared.web.console import Page
from shared.web.visit import Answer, Shown, Visit
from site_node.home.folder import SiteHome
from site_node.home.words import NO_STUDY
from site_node.node.open import open_node

_ON_A_PAGE = 100


class AuditPages:
    """The list."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (Page("GET", "/audit", self._events),)

    def _events(self, visit: Visit) -> Answer:
        page = visit.page_number
        with open_node(self._home, writing=False) as node:
            newest = node.ledger.events(latest=True, most=1)
            events = node.ledger.events(latest=True, skip=(page - 1) * _ON_A_PAGE, most=_ON_A_PAGE)
        total = newest[0].number if newest else 0  # events are numbered from 1, and none is ever deleted
        values = {"events": events, "total": total, "page": page, "pages": max(1, -(-total // _ON_A_PAGE))}
        return Shown("audit.html", {**values, "no_study": NO_STUDY})
