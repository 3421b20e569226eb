"""What was asked of the PACS, kept apart from the ledger: accession numbers are PHI.

One file a list, `<home>/requests/<list>.jsonl`, readable by its owner only and never changed; its lines are the list's
requests, named `<list>-<line>` in the ledger. When they have ended, the list is removed after a time.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from shared.durable import write_whole
from shared.frozen import Frozen


class Wanted(Frozen):
    """One request: an accession number or a study; `patient_id`, if given, must be the study's. PHI."""

    accession: str = ""
    study_uid: str = ""
    patient_id: str = ""

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "Wanted(…)"


class WantedFiles:
    """The folder of lists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, wanted: Sequence[Wanted]) -> tuple[str, ...]:
        """Keep a list durably; the names of its requests, which say nothing of them."""
        name = secrets.token_hex(8)
        text = "".join(one.model_dump_json() + "\n" for one in wanted)
        write_whole(self._folder / f"{name}.jsonl", text.encode(), mode=0o600)
        return tuple(f"{name}-{line}" for line in range(len(wanted)))

    def get(self, request: str) -> Wanted | None:
        """What a request asks for; `None` where its list is gone."""
        name, _, line = request.rpartition("-")
        try:
            return _lines(self._folder / f"{name}.jsonl")[int(line)]
        except (OSError, ValueError, IndexError, ValidationError):
            return None

    def all(self) -> Iterator[tuple[str, Wanted]]:
        """Every request that is kept, by its name."""
        for name, _ in self.lists():
            with suppress(FileNotFoundError):  # the service forgot it just now
                yield from self.read(name).items()

    def lists(self) -> Iterator[tuple[str, datetime]]:
        """The name of every list that is kept, and when it was made."""
        for file in sorted(self._folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):
                yield file.stem, datetime.fromtimestamp(file.stat().st_mtime, UTC)

    def read(self, name: str) -> dict[str, Wanted]:
        """What a list asks for, by the names of its requests."""
        return {f"{name}-{line}": wanted for line, wanted in enumerate(_lines(self._folder / f"{name}.jsonl"))}

    def remove(self, name: str) -> None:
        """Forget a list."""
        (self._folder / f"{name}.jsonl").unlink(missing_ok=True)


@lru_cache(maxsize=4)
def _lines(file: Path) -> tuple[Wanted, ...]:
    return tuple(Wanted.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines())
