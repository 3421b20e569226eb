"""The review's pages put together and served, to the person whose link it is."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from coordinator.curation.membership import CuratorHome
from coordinator.curation.register.register import Register
from coordinator.curation.review.console.pages import ROLES, ReviewPages, ReviewRole
from shared.web.console import Console, Frame
from shared.web.people import People
from shared.web.serving import serving
from shared.web.settings import ConsoleSettings
from shared.web.store import Store

PORT = 8423


def make_console(pages: ReviewPages, settings: ConsoleSettings, store: Store) -> Console:
    """The pages of a register."""
    packages = ("coordinator.curation.review.console",)
    frame = Frame("RICORD review", packages, (("/", "Studies"),), by_link_alone=True)
    return Console(frame, settings, store, pages.pages(), ROLES)


@contextmanager
def review_served(
    home: CuratorHome, register: Register, person: str, port: int, send: Callable[[], None]
) -> Iterator[str]:
    """Serve them on this machine while the block runs, to whoever has the link that is yielded; it works once.

    Raises `PortInUse`.
    """
    settings = ConsoleSettings(port=port)
    with closing(Store(None)) as store:
        console = make_console(ReviewPages(home, register, send), settings, store)
        with serving(console, settings, home.folder):
            yield f"{settings.address}/invitation/{People(store).invite(person, ReviewRole.CURATOR)}"
