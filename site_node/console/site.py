"""The site's console put together."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from shared.web.console import Console, Frame
from shared.web.serving import serving
from shared.web.settings import ConsoleSettings
from shared.web.store import Store
from site_node.console.agreement import AgreementPages
from site_node.console.audit import AuditPages
from site_node.console.clinical import ClinicalPages
from site_node.console.federated import FederatedPages
from site_node.console.intake import IntakePages
from site_node.console.left import LeftPages
from site_node.console.review import ReviewPages
from site_node.console.roles import ROLES
from site_node.console.today import TodayPages
from site_node.home.folder import SiteHome

_MENU = (
    ("/", "Today"),
    ("/intake", "Intake"),
    ("/review", "Review"),
    ("/clinical", "Clinical"),
    ("/agreement", "Agreement"),
    ("/federated", "Federated work"),
    ("/left", "What left"),
    ("/audit", "Audit"),
)


def make_console(home: SiteHome, settings: ConsoleSettings, store: Store) -> Console:
    """The console of a home."""
    rooms = (
        *(TodayPages(home), IntakePages(home), ReviewPages(home), ClinicalPages(home), AgreementPages(home)),
        *(FederatedPages(home), LeftPages(home), AuditPages(home)),
    )
    pages = [page for room in rooms for page in room.pages()]
    frame = Frame("RICORD site", ("site_node.console",), _MENU)
    return Console(frame, settings, store, pages, ROLES)


@contextmanager
def console_served(home: SiteHome, settings: ConsoleSettings) -> Iterator[None]:
    """Serve it while the block runs; raises `PortInUse`, `SourceMissing`."""
    with closing(Store(home.console)) as store, serving(make_console(home, settings, store), settings, home.folder):
        yield
