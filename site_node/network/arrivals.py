"""Hold instances that came over the network until their study is complete enough to enter the spool.

An instance is durable under its final name before its sender gets an answer. Folders are named by the study's key and
files by keyed hashes, so no name identifies a patient. A resent instance replaces itself; one with other bytes lies
beside the first, where the next stage sees both. Several processes may store and set aside at once.
"""

import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from shared.durable import move, new_file, sync_folder
from shared.errors.storage import DiskFull
from shared.ids import StudyKey

_UNFINISHED = ".unfinished"
_SET_ASIDE = ".taking-"
_ATTEMPTS = 100
EMPTY: Mapping[StudyKey, datetime] = MappingProxyType({})


def last_arrivals(folder: Path, *, with_set_aside: bool = False) -> Iterator[tuple[StudyKey, datetime]]:
    """Each study that arrived in `folder` and when it last got an instance; its process may set it aside meanwhile."""
    for path in sorted(folder.iterdir()):
        is_set_aside = path.name.startswith(_SET_ASIDE)
        if not path.name.startswith(".") or (is_set_aside and with_set_aside):
            with suppress(FileNotFoundError):
                yield _key_of(path), datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _key_of(path: Path) -> StudyKey:
    """The key of the study whose folder this is, which may be set aside."""
    return StudyKey(path.name.removeprefix(_SET_ASIDE).partition("-")[0])


class Arrivals:
    """The folder of arrived instances. `study_key` is the site's keyed hash; it names files too."""

    def __init__(self, folder: Path, study_key: Callable[[str], StudyKey]) -> None:
        self.folder = folder
        self.key = study_key
        (folder / _UNFINISHED).mkdir(parents=True, exist_ok=True, mode=0o700)

    def store(self, study_uid: str, sop_uid: str, content: bytes) -> None:
        """Store one instance, a whole Part 10 file; it is durable on return. Raises `DiskFull`, `OSError`."""
        digest = hashlib.sha256(content).hexdigest()[:32]
        unfinished = self.folder / _UNFINISHED / f"{digest}.{secrets.token_hex(6)}"
        try:
            with new_file(unfinished, mode=0o600) as file:
                file.write(content)
            self._move(unfinished, self._folder_of(study_uid), f"{self._instance_name(sop_uid)}-{digest}.dcm")
        finally:
            unfinished.unlink(missing_ok=True)

    def check_space(self, size: int) -> None:
        """Raise `DiskFull` where fewer than `size` bytes are free."""
        if shutil.disk_usage(self.folder).free < size:
            raise DiskFull(folder=str(self.folder))

    def count(self, study_uid: str) -> int:
        """The number of the study's instances here, each counted once."""
        return self.count_by_key(self.key(study_uid))

    def count_by_key(self, key: StudyKey) -> int:
        """The same, by the study's key."""
        return len(self._instance_names(key))

    def has(self, study_uid: str, sop_uid: str) -> bool:
        """Whether that instance is here."""
        return self._instance_name(sop_uid) in self._instance_names(self.key(study_uid))

    def seconds_since_arrival(self, study_uid: str) -> float:
        """Seconds since the study last got an instance; infinite if it has none."""
        try:
            return time.time() - self._folder_of(study_uid).stat().st_mtime
        except FileNotFoundError:
            return float("inf")

    def quiet_studies(self, seconds: float, complete: Mapping[StudyKey, datetime] = EMPTY) -> Iterator[StudyKey]:
        """Studies that got no instance for at least `seconds`, or none since the moment `complete` gives for them."""
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        for key, last in last_arrivals(self.folder):
            if last <= max(limit, complete.get(key, limit)):
                yield key

    def set_aside(self, key: StudyKey) -> Path:
        """Rename a study's folder, so that later instances start a new one; returns its new path."""
        path = self.folder / f"{_SET_ASIDE}{key}-{secrets.token_hex(4)}"
        move(self.folder / key, path)
        return path

    def set_aside_folders(self) -> Iterator[tuple[StudyKey, Path]]:
        """Folders that were set aside and not removed: the process that received them failed or was killed."""
        for path in sorted(self.folder.glob(f"{_SET_ASIDE}*")):
            yield _key_of(path), path

    def remove(self, folder: Path) -> None:
        """Remove a folder that was set aside and received. It is renamed first: a kill leaves no half study."""
        unfinished = self.folder / _UNFINISHED / folder.name
        move(folder, unfinished)
        shutil.rmtree(unfinished)

    def clear_unfinished(self) -> None:
        """Remove what a killed process was writing or removing; only while no process stores."""
        shutil.rmtree(self.folder / _UNFINISHED)
        (self.folder / _UNFINISHED).mkdir(mode=0o700, exist_ok=True)  # whoever looks at progress may have made it

    def _move(self, unfinished: Path, folder: Path, name: str) -> None:
        """Give a durable file its name; its folder may be set aside at any moment, and is then made anew."""
        for _ in range(_ATTEMPTS):
            with suppress(FileExistsError):  # not `exist_ok`, which looks again after the folder may have been renamed
                folder.mkdir(mode=0o700)
            try:
                move(unfinished, folder / name)
            except FileNotFoundError:
                continue
            try:
                sync_folder(folder)
            except FileNotFoundError:  # set aside with this file in it; the process that receives it makes it durable
                return
            return
        raise OSError(f"{_ATTEMPTS} times a folder went away under a file")

    def _folder_of(self, study_uid: str) -> Path:
        return self.folder / self.key(study_uid)

    def _instance_name(self, sop_uid: str) -> str:
        return self.key(f"instance {sop_uid}")

    def _instance_names(self, key: StudyKey) -> frozenset[str]:
        try:
            return frozenset(path.name.partition("-")[0] for path in (self.folder / key).iterdir())
        except FileNotFoundError:
            return frozenset()
