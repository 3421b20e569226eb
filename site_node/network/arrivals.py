"""Where instances lie that came over the network, until their study is complete enough to be taken into the spool.

An instance is durable under its final name before the sender is told so. Folders are named by the study's key and files
by keyed hashes, so no name says whose they are; a resent instance replaces itself, and one with other bytes lies beside
the first, where the next stage sees both. Several processes may store and take at once.
"""

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from shared.durable import new_file, sync_folder
from shared.errors import DiskFull
from shared.ids import StudyKey

_UNFINISHED = ".unfinished"
_TAKING = ".taking-"
_TRIES = 100


class Arrivals:
    """The folder. `study_key` is the site's keyed hash; it names files too."""

    def __init__(self, folder: Path, study_key: Callable[[str], StudyKey]) -> None:
        self.folder = folder
        self.key = study_key
        (folder / _UNFINISHED).mkdir(parents=True, exist_ok=True, mode=0o700)

    def store(self, study_uid: str, sop_uid: str, content: bytes) -> None:
        """Keep one instance, a whole Part 10 file. When this returns it is durable; raises `DiskFull`, `OSError`."""
        digest = hashlib.sha256(content).hexdigest()[:32]
        unfinished = self.folder / _UNFINISHED / f"{digest}.{secrets.token_hex(6)}"
        try:
            with new_file(unfinished, mode=0o600) as file:
                file.write(content)
            self._place(unfinished, self._of(study_uid), f"{self._name(sop_uid)}-{digest}.dcm")
        finally:
            unfinished.unlink(missing_ok=True)

    def check_room(self, size: int) -> None:
        """Raise `DiskFull` where fewer than `size` bytes are free."""
        if shutil.disk_usage(self.folder).free < size:
            raise DiskFull(folder=str(self.folder))

    def count(self, study_uid: str) -> int:
        """How many instances of the study lie here, each counted once."""
        return self.count_of(self.key(study_uid))

    def count_of(self, key: StudyKey) -> int:
        """Likewise, by the study's key."""
        return len(self._names(key))

    def has(self, study_uid: str, sop_uid: str) -> bool:
        """Whether that instance lies here."""
        return self._name(sop_uid) in self._names(self.key(study_uid))

    def still_for(self, study_uid: str) -> float:
        """Seconds since the study last got an instance; infinite where it has none."""
        try:
            return time.time() - self._of(study_uid).stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def quiet(self, seconds: float) -> Iterator[StudyKey]:
        """Studies that got nothing for so long."""
        limit = time.time() - seconds
        for path in sorted(self.folder.iterdir()):
            if not path.name.startswith(".") and path.stat().st_mtime <= limit:
                yield StudyKey(path.name)

    def take(self, key: StudyKey) -> Path:
        """Set a study apart, so that what comes from now on makes a new folder; its path."""
        apart = self.folder / f"{_TAKING}{key}-{secrets.token_hex(4)}"
        (self.folder / key).rename(apart)
        return apart

    def taken(self) -> Iterator[tuple[StudyKey, Path]]:
        """What was set apart and not removed: a process that took it was killed."""
        for path in sorted(self.folder.glob(f"{_TAKING}*")):
            yield StudyKey(path.name.removeprefix(_TAKING).rsplit("-", 1)[0]), path

    def remove(self, apart: Path) -> None:
        """Remove what was set apart and is taken in, first its name: what a kill leaves is not taken in as a study."""
        gone = self.folder / _UNFINISHED / apart.name
        apart.rename(gone)
        shutil.rmtree(gone)

    def clear_unfinished(self) -> None:
        """Remove what a killed process was writing or removing; only while nobody stores."""
        shutil.rmtree(self.folder / _UNFINISHED)
        (self.folder / _UNFINISHED).mkdir(mode=0o700)

    def _place(self, unfinished: Path, folder: Path, name: str) -> None:
        """Give a durable file its name; its folder may be set apart at any moment, and is then made anew."""
        for _ in range(_TRIES):
            with suppress(FileExistsError):  # `exist_ok` asks what is there, which may be gone by then
                folder.mkdir(mode=0o700)
            try:
                unfinished.replace(folder / name)
            except FileNotFoundError:
                continue
            try:
                sync_folder(folder)
            except FileNotFoundError:  # set apart with this file in it, and made durable by who took it
                return
            return
        raise OSError(f"{_TRIES} times a folder went away under a file")

    def _of(self, study_uid: str) -> Path:
        return self.folder / self.key(study_uid)

    def _name(self, sop_uid: str) -> str:
        return self.key(f"instance {sop_uid}")

    def _names(self, key: StudyKey) -> frozenset[str]:
        try:
            return frozenset(path.name.partition("-")[0] for path in (self.folder / key).iterdir())
        except FileNotFoundError:
            return frozenset()
