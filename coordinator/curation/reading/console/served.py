"""The reading's pages put together and served."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from coordinator.curation.membership import CuratorHome
from coordinator.curation.reading.console.pages import ReadingPages
from coordinator.curation.reading.console.roles import ROLES
from coordinator.curation.reading.desk import Desk
from coordinator.curation.register.register import Register
from shared.protocol.loader import load_annotation
from shared.web.console import Console, Frame
from shared.web.serving import serving
from shared.web.settings import ConsoleSettings
from shared.web.store import Store


def make_console(desk: Desk, settings: ConsoleSettings, store: Store) -> Console:
    """The pages of a desk."""
    frame = Frame("RICORD reading", ("coordinator.curation.reading.console",), (("/", "Studies"),))
    return Console(frame, settings, store, ReadingPages(desk).pages(), ROLES)


@contextmanager
def reading_served(home: CuratorHome) -> Iterator[None]:
    """Serve them while the block runs; raises `PortInUse`, `SourceMissing`."""
    settings = home.settings().reading
    with closing(Register(home.register)) as register, closing(Store(home.readers)) as store:
        console = make_console(Desk(register, home.opened, load_annotation()), settings, store)
        with serving(console, settings, home.folder):
            yield
