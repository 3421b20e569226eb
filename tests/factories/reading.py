"""A desk with accepted films of several sites and some readers, and what they may say."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from typer.testing import CliRunner

from compose.sample import films, objects
from compose.sample.objects import Header
from coordinator.cli import app
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
        self.register.follow(list_opened(self.opened), ())
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


def invite(home: Path, name: str, role: str) -> str:
    """The link of a reader who is added by the command."""
    arguments = ["--home", str(home), "curate", "reader", "add", name, "--role", role, "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return str(json.loads(result.output)["link"])


def film_of(number: int, *, shape: tuple[int, int] = (400, 400)) -> bytes:
    """A synthetic film of that number, 12 bits deep, of rows x columns, as a DICOM file."""
    rng = np.random.default_rng(number)
    shades = films.frontal(rng, max(shape), positive=number % 2 == 0)[: shape[0], : shape[1]]
    header = replace(Header(), study_uid=objects.uid("film", number), series_uid=objects.uid("film", number, 1))
    image = objects.radiograph((shades * 4000).astype(np.uint16), header, view="PA")
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def reading_room(
    folder: Path, count: int = 3, readers: int = 3, *, film: Callable[[int], bytes] | None = None
) -> Iterator[Room]:
    """A room with films of three sites in turn, `readers` readers and an adjudicator named `dora`.

    `film` makes the bytes of the film of a number; without it they are no DICOM.
    """
    register = Register(folder / "register.sqlite")
    try:
        room = Room(Desk(register, folder / "opened", DEFINITION), register, folder / "opened")
        for number in range(count):
            files = {f"2.25.{20_000 + number}": film(number)} if film else None
            write_opened(room.opened, number, site=SITES[number % 3], files=files)
        room.enter()
        for number in range(readers):
            room.add(f"reader {number}")
        room.add("dora", ReaderRole.ADJUDICATOR)
        yield room
    finally:
        register.close()
