"""A desk with accepted films of several sites and some readers, and what they may say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from coordinator.curation.opening import list_opened
from coordinator.curation.reading.desk import Desk
from coordinator.curation.reading.readers import Reader, ReaderRole, add_reader
from coordinator.curation.reading.reads import FilmRead
from coordinator.curation.register.acts import PROGRAM, Act, Actor, Role
from coordinator.curation.register.register import Register
from shared.protocol.loader import load_annotation
from tests.factories.opened import write_opened

DEFINITION = load_annotation()
CURATOR = Actor(role=Role.CURATOR, name="anna")
SITES = ("123456", "654321", "419639")

_GRADED = [term.name for term in DEFINITION.group("appearance").terms if term.name not in DEFINITION.ungraded]
_GRADES = [term.name for term in DEFINITION.group("grade").terms]
reads = st.one_of(
    st.builds(
        FilmRead, appearance=st.sampled_from(_GRADED), grade=st.sampled_from(_GRADES), note=st.sampled_from("ab")
    ),
    st.builds(FilmRead, appearance=st.sampled_from(DEFINITION.ungraded)),
)


class Room(NamedTuple):
    """The desk, its register, and the folder of what is opened."""

    desk: Desk
    register: Register
    opened: Path

    def enter(self) -> None:
        """Let what lies opened come as far as reading."""
        self.register.follow(list_opened(self.opened))
        with self.register.changing() as change:
            for case in change.cases():
                if case.state == "opened":
                    change.act(case, Act.CHECK, PROGRAM)
                    change.act(case, Act.REVIEW, CURATOR)
                    change.act(case, Act.CONFIRM, CURATOR)

    def add(self, name: str, role: ReaderRole = ReaderRole.READER) -> Reader:
        """Add a reader."""
        with self.register.changing() as change:
            return add_reader(change, name, role)


@contextmanager
def reading_room(folder: Path, films: int = 3, readers: int = 3) -> Iterator[Room]:
    """A room with films of three sites in turn, `readers` readers and an adjudicator named `dora`."""
    register = Register(folder / "register.sqlite")
    try:
        room = Room(Desk(register, folder / "opened", DEFINITION), register, folder / "opened")
        for number in range(films):
            write_opened(room.opened, number, site=SITES[number % 3])
        room.enter()
        for number in range(readers):
            room.add(f"reader {number}")
        room.add("dora", ReaderRole.ADJUDICATOR)
        yield room
    finally:
        register.close()
