"""Lists of requests to the PACS, stored apart from the ledger: accession numbers are PHI.

Each list is a file `<home>/requests/<list>.jsonl`, readable by its owner only and never changed. Its lines are the
list's requests, named `<list>-<line>` in the ledger. The list is removed some time after its requests have ended.
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


class StudyRequest(Frozen):
    """One request: an accession number or a study; `patient_id`, if given, must be the study's. PHI."""

    accession: str = ""
    study_uid: str = ""
    patient_id: str = ""

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "StudyRequest(…)"


class RequestLists:
    """The folder of lists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def add(self, requests: Sequence[StudyRequest]) -> tuple[str, ...]:
        """Store a list durably; returns the names of its requests, which reveal nothing about them."""
        name = secrets.token_hex(8)
        text = "".join(request.model_dump_json() + "\n" for request in requests)
        write_whole(self._folder / f"{name}.jsonl", text.encode(), mode=0o600)
        return tuple(f"{name}-{line}" for line in range(len(requests)))

    def get(self, request_name: str) -> StudyRequest | None:
        """The request of that name; `None` if its list was removed."""
        name, _, line = request_name.rpartition("-")
        try:
            return _lines(self._folder / f"{name}.jsonl")[int(line)]
        except (OSError, ValueError, IndexError, ValidationError):
            return None

    def all(self) -> Iterator[tuple[str, StudyRequest]]:
        """Every stored request, with its name."""
        for name, _ in self.lists():
            with suppress(FileNotFoundError):  # the service has just removed it
                yield from self.read(name).items()

    def lists(self) -> Iterator[tuple[str, datetime]]:
        """The name of every stored list, and when it was made."""
        for file in sorted(self._folder.glob("*.jsonl")):
            with suppress(FileNotFoundError):
                yield file.stem, datetime.fromtimestamp(file.stat().st_mtime, UTC)

    def read(self, name: str) -> dict[str, StudyRequest]:
        """The requests of a list by their names."""
        return {f"{name}-{line}": request for line, request in enumerate(_lines(self._folder / f"{name}.jsonl"))}

    def remove(self, name: str) -> None:
        """Remove a list."""
        (self._folder / f"{name}.jsonl").unlink(missing_ok=True)


@lru_cache(maxsize=4)
def _lines(file: Path) -> tuple[StudyRequest, ...]:
    return tuple(StudyRequest.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines())
