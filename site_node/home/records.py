"""The records that stages leave for each other: one file per stage and study, in the study's work folder."""

from pathlib import Path
from typing import TypeVar

from shared.durable import file_to_sync, write_whole
from shared.frozen import Frozen
from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.study import Deidentified, Received

Record = TypeVar("Record", bound=Frozen)


class Records:
    """The records of a home's studies, one file for each type of `site_node.study` that a study has reached. PHI.

    Paths in them are relative to the home, so that it may be moved; what lies elsewhere is named in full.
    """

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def write(self, key: StudyKey, record: Frozen) -> None:
        """Write a record whole and durable; it replaces a previous one of its type."""
        path = self._path(key, type(record))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = record.model_dump_json(context=self._home.folder).encode()
        if self._home.is_temporary:
            path.unlink(missing_ok=True)
            with file_to_sync(path, mode=0o600) as file:
                file.write(content)
        else:
            write_whole(path, content, mode=0o600)

    def read(self, key: StudyKey, kind: type[Record]) -> Record:
        """The record of a study; raises `FileNotFoundError` where there is none."""
        return kind.model_validate_json(self._path(key, kind).read_bytes(), context=self._home.folder)

    def find(self, key: StudyKey, kind: type[Record]) -> Record | None:
        """The record of a study, or `None`."""
        return self.read(key, kind) if self._path(key, kind).exists() else None

    def has_originals(self, key: StudyKey, *, apart: frozenset[str]) -> bool:
        """Whether every original of the study lies where its record says, but for the instances held `apart`."""
        study = self.find(key, Received)
        return study is not None and all(each.path.exists() for each in study.instances if each.name not in apart)

    def has_output(self, key: StudyKey) -> bool:
        """Whether every new file of the study lies where its record says."""
        output = self.find(key, Deidentified)
        return output is not None and all(instance.path.exists() for instance in output.instances)

    def _path(self, key: StudyKey, kind: type[Frozen]) -> Path:
        return self._home.work(key) / f"{kind.__name__.lower()}.json"
