"""The editions of the protocol under which a home has worked, as data that outlast an upgrade of the program."""

from dataclasses import dataclass
from datetime import datetime

from shared.durable import write_whole
from shared.editions import ProtocolEdition
from shared.frozen import Frozen
from shared.ids import Sha256
from site_node.home.folder import SiteHome

Statements = dict[str, dict[str, str]]  # by section, then by what each is about


class KeptEdition(Frozen):
    """An edition, since when the home works under it, and what it says."""

    edition: ProtocolEdition
    begun_at: datetime
    statements: Statements


@dataclass(frozen=True)
class KeptEditions:
    """`editions/` of a home: a file for each edition, and the digest of the one in use."""

    home: SiteHome

    @property
    def in_use(self) -> Sha256 | None:
        """The digest of the edition under which studies are made here; `None` before the first."""
        file = self.home.folder / "editions" / "in-use"
        return Sha256(file.read_text(encoding="ascii")) if file.exists() else None

    def all(self) -> tuple[KeptEdition, ...]:
        """Every edition, the one begun last first."""
        files = (self.home.folder / "editions").glob("*.json")
        kept = [KeptEdition.model_validate_json(file.read_bytes()) for file in files]
        return tuple(sorted(kept, key=lambda edition: edition.begun_at, reverse=True))

    def keep(self, kept: KeptEdition) -> None:
        """Keep what an edition says; it is in use after `use` only."""
        folder = self.home.folder / "editions"
        folder.mkdir(exist_ok=True, mode=0o700)
        write_whole(folder / f"{kept.edition.digest}.json", kept.model_dump_json().encode())

    def use(self, digest: Sha256) -> None:
        """Name the edition in use."""
        write_whole(self.home.folder / "editions" / "in-use", digest.encode())
