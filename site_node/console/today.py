"""Today: where every study is and why, what waits for whom, the disk, the PACS, and what was sent last."""

from datetime import datetime
from typing import NamedTuple

from shared.web.console import Page
from shared.web.visit import Shown
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.status import StudyCounts, status_of
from site_node.membership.witness import Witness
from site_node.node.open import Node, open_node
from site_node.node.standing import standing_of_edition
from site_node.node.waits import federated_work, waits_of
from site_node.reasons import advice_for, sentence_of


class Place(NamedTuple):
    """Where studies are, how many, and the reasons: code, how many, what it says and advises."""

    name: str
    total: int
    reasons: list[tuple[str, int, str]]


class TodayPages:
    """The first page, and its figures alone, which the page asks for again by itself."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/", lambda _: self._shown("today.html")),
            Page("GET", "/figures", lambda _: self._shown("figures.html")),
        )

    def _shown(self, template: str) -> Shown:
        with open_node(self._home, writing=False) as node:
            return Shown(template, _values(node))


def _values(node: Node) -> dict[str, object]:
    running, short = node.home.is_served(), node.free_space.shortage()
    site_id = node.membership.site_id if node.membership else None
    counts = status_of(node.ledger, name=node.settings.name, site_id=site_id, disk_nearly_full=short is not None)
    contradiction = Witness(node.home).contradiction()
    warnings = [error.public for error in (short, contradiction.error if contradiction else None) if error]
    places = [_place(name, getattr(counts, name)) for name in ("waiting", "quarantined", "excluded", "refused")]
    return {
        "status": counts,
        "running": running,
        "warnings": warnings,
        "edition": standing_of_edition(node),
        "places": places,
        "at_centre": [_place(state, there) for state, there in counts.at_centre.items()],
        "waits": waits_of(node, running=running),
        "federation": federated_work(node, running=running),
        "free": node.free_space.free(node.free_space.folder),
        "reserve": node.free_space.reserve_mb << 20,
        "last_receipt": _last_receipt(node.ledger),
        "asks_a_pacs": node.settings.asks_a_pacs,
        "sentence_of": sentence_of,
    }


def _place(name: str, counts: StudyCounts) -> Place:
    reasons = [(code, count, advice_for(code)) for code, count in counts.reasons.items()]
    return Place(name, counts.total, reasons)


def _last_receipt(ledger: Ledger) -> datetime | None:
    """When the last study was submitted."""
    newest = ledger.studies(State.SUBMITTED, order="audit_number desc", most=1)
    return newest[0].changed_at if newest else None
