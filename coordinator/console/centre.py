"""The coordinator as a console asks it: by the certificate of the console's home, for the person who is signed in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from coordinator.home.settings import CentreConsoleSettings, Home
from coordinator.operator.answers import every_page
from coordinator.operator.channel import operator_channel
from coordinator.operator.observer import ObserverHome
from shared.member import member_channel
from shared.web.people import Person
from shared.web.settings import ConsoleSettings
from shared.wire import PERSON_METADATA, UNARY_SECONDS


class Asking:
    """Calls on one connection, in the name of one person."""

    def __init__(self, channel: grpc.Channel, person: Person) -> None:
        self.channel = channel
        self._metadata = ((PERSON_METADATA, person.name.encode()),)

    def ask(self, call: Callable[..., Any], request: Any) -> Any:
        """The answer to one call; raises what the coordinator refuses it with."""
        return call(request, timeout=UNARY_SECONDS, metadata=self._metadata)

    def all(self, call: Callable[..., Any], request: Any) -> Any:
        """A list that comes in pages, as one answer."""
        return every_page(partial(call, metadata=self._metadata), request)


@dataclass(frozen=True)
class Centre:
    """The way to the coordinator from one home, which is an operator's or an observer's."""

    folder: Path
    is_operators: bool
    settings: ConsoleSettings
    connect: Callable[[], AbstractContextManager[grpc.Channel]]

    @property
    def people(self) -> Path:
        """The file of the console's people."""
        return Home(self.folder).console

    @contextmanager
    def asking(self, person: Person) -> Iterator[Asking]:
        """A connection while the block runs; raises what `shared.wire.connected` raises."""
        with self.connect() as channel:
            yield Asking(channel, person)


def centre_of(folder: Path) -> Centre:
    """The way from a home, by its settings; raises what reading them raises."""
    observer = ObserverHome(folder)
    if observer.settings_file.exists():
        port = observer.settings().console_port
        return Centre(folder, False, CentreConsoleSettings(port=port), lambda: member_channel(observer.connecting()))
    home = Home(folder)
    return Centre(folder, True, home.settings().console, lambda: operator_channel(home))
