"""What `tests/mutants.toml` says: which tests guard which room, and which mutants change nothing that could be seen."""

import tomllib
from pathlib import Path

from pydantic import Field

from shared.frozen import Frozen

ROOT = Path(__file__).resolve().parents[2]


class Equivalent(Frozen):
    """A mutant that behaves as the module does, by its name, and why."""

    path: str
    place: str
    was: str
    becomes: str
    reason: str = Field(min_length=20)

    @property
    def name(self) -> tuple[str, str, str, str]:
        """As a mutant's."""
        return self.path, self.place, self.was, self.becomes


class Table(Frozen):
    """The rooms with their tests, and the list of equivalent mutants."""

    rooms: dict[str, tuple[str, ...]]
    equivalent: tuple[Equivalent, ...] = ()


def read_table() -> Table:
    """The table; raises `ValidationError` for an entry without a reason."""
    return Table.model_validate(tomllib.loads((ROOT / "tests" / "mutants.toml").read_text()))


def modules_of(room: str) -> list[str]:
    """The modules that lie in the room's own folder, relative to the repository."""
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / room).glob("*.py")) if path.name != "__init__.py"]
