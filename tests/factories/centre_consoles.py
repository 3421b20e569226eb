"""The centre's console over a running coordinator, and people at browsers without windows."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from coordinator.console.centre import Centre, centre_of
from coordinator.console.roles import Role
from coordinator.console.served import make_console
from coordinator.operator.observer import ObserverHome, ObserverSettings
from shared.web.store import Store
from tests.factories.consoles import SETTINGS, Browser
from tests.factories.federation import Federation


@dataclass(frozen=True)
class CentreConsole:
    """A console of one home."""

    centre: Centre
    store: Store

    def person(self, role: Role, name: str = "") -> Browser:
        """A new person of that role, signed in."""
        browser = Browser(make_console(self.centre, self.store))
        browser.join(self.store, name or f"Dr. {role.title()}", role)
        return browser


@contextmanager
def console_of(folder: Path) -> Iterator[CentreConsole]:
    """The console of an operator's or an observer's home."""
    centre = replace(centre_of(folder), settings=SETTINGS)
    with closing(Store(None)) as store:
        yield CentreConsole(centre, store)


def observer_home(federation: Federation, name: str = "olga") -> ObserverHome:
    """An enrolled observer's."""
    home = ObserverHome(federation.folder / f"observer-{name}")
    home.join(federation.join_token("observer", name), ObserverSettings(), check=lambda _: None)
    return home
