"""What a run that was interrupted had done: a journal beside the outputs, which another run takes up.

It holds new identifiers, codes and sentences; a study stands in it under a keyed digest of its files, their times and
sizes, and of everything that decides what becomes of them. So it says nothing to who has not the key, and a study that
changed, or is asked for differently, is done again.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from typing import IO

from pydantic import TypeAdapter, ValidationError

from shared.errors import HomeBusy
from shared.ids import StudyKey
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.standalone.reasons import passes
from site_node.standalone.study import UNFINISHED
from site_node.standalone.tasks import Done, FileOutcome, Job, StudyTask

_LINE = TypeAdapter(tuple[StudyKey, tuple[FileOutcome, ...]])


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Be the only run that writes into `out`; raises `HomeBusy`."""
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HomeBusy(folder=str(out)) from error
        yield
    finally:
        os.close(folder)


class Journal:
    """The studies that are done. Use it only in `only_run`."""

    def __init__(self, job: Job, profile_digest: str, pseudonyms: Pseudonyms) -> None:
        self._job = job
        self._pseudonyms = pseudonyms
        self._asked = [version("ricord-federation"), profile_digest, *job.model_dump(mode="json").values()]
        self._folder = job.out / UNFINISHED
        self._file = self._folder / "journal.jsonl"
        self._known = self._read()
        self._target: IO[str] | None = None
        self._passing = False  # some study may end otherwise next time

    def done(self, unit: StudyTask) -> Done | None:
        """What became of a study, if that is known and its outputs are there."""
        fates = self._known.get(self._name(unit), ())
        there = all(fate.output is None or (self._job.out / fate.output).is_file() for fate in fates)
        return Done(fates) if there and len(fates) == len(unit.members) else None

    def add(self, unit: StudyTask, done: Done) -> None:
        """Note a study whose outputs are in their place; one that another run may take is not noted."""
        if any(passes(fate) for fate in done.fates):
            self._passing = True
            return
        if self._target is None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            self._target = os.fdopen(handle, "w", encoding="utf-8")
        self._target.write("\n" + _LINE.dump_json((self._name(unit), done.fates)).decode() + "\n")
        self._target.flush()
        os.fsync(self._target.fileno())

    def close(self, *, finished: bool) -> None:
        """Keep the journal for the next run if there is something left to do, else remove it."""
        if self._target is not None:
            self._target.close()
        if finished and not self._passing:
            rmtree(self._folder, ignore_errors=True)

    def _read(self) -> dict[StudyKey, tuple[FileOutcome, ...]]:
        """Every whole line; a kill may have cut the last one."""
        known = {}
        if self._file.is_file():
            for line in self._file.read_bytes().splitlines():
                try:
                    name, fates = _LINE.validate_json(line)
                except ValidationError:
                    continue
                known[name] = fates
        return known

    def _name(self, unit: StudyTask) -> StudyKey:
        """A study as it lies there now and as it is asked for: 128 bits that only the key's holder can make."""
        return self._pseudonyms.study_key("unit " + json.dumps([self._asked, unit]))
