"""The researcher's console put together."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from coordinator.research.console.pages import ROLES, ResearchPages, Role
from coordinator.research.home import ResearcherHome
from shared.web.console import Console, Frame
from shared.web.people import People
from shared.web.serving import serving
from shared.web.settings import ConsoleSettings
from shared.web.store import Store

_MENU = (("/", "Runs"), ("/plan", "Plan"))


def make_console(home: ResearcherHome, settings: ConsoleSettings, store: Store) -> Console:
    """The console of a home."""
    frame = Frame("RICORD research", ("coordinator.research.console",), _MENU, by_link_alone=True)
    return Console(frame, settings, store, ResearchPages(home).pages(), ROLES)


@contextmanager
def console_served(home: ResearcherHome, settings: ConsoleSettings) -> Iterator[str]:
    """Serve it while the block runs, to whoever has the link that is yielded; it works once.

    Raises `NotEnrolled`, `PortInUse`.
    """
    name = home.membership().name
    with closing(Store(None)) as store, serving(make_console(home, settings, store), settings, home.folder):
        yield f"{settings.address}/invitation/{People(store).invite(name, Role.RESEARCHER)}"
