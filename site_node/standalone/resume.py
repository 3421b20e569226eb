"""The studies that an interrupted run completed: a journal beside the outputs, which the next run continues.

It holds new identifiers, codes and sentences. The name of a study in it is a keyed digest of its files, their times and
sizes, and of everything that decides their outcomes: without the key it reveals nothing, and a study that changed, or
that runs with other options, is processed again.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree

from pydantic import TypeAdapter, ValidationError

from shared.durable import append, write_whole
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeBusy
from shared.ids import PatientPseudonym, StudyKey
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.standalone.job import FileOutcome, Job, StudyResult, StudyTask
from site_node.standalone.scratch import locked
from site_node.standalone.temporary_node import UNFINISHED

KEY_CHECK = ".key-check"  # in the output folder
_LINE = TypeAdapter(tuple[StudyKey, tuple[FileOutcome, ...]])


@contextmanager
def exclusive_run(out: Path) -> Iterator[None]:
    """Lock `out` for the only run that writes into it; raises `HomeBusy`."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out))
        except BlockingIOError as error:
            raise HomeBusy(folder=str(out)) from error
        yield


def check_key(out: Path, pseudonyms: Pseudonyms) -> None:
    """Note with which key and SITEID the outputs are made; raises `InvalidArgument` where others were, or may be.

    A patient would have two pseudonyms in one folder. The note is a keyed digest, which reveals nothing of the key.
    """
    note, check = out / KEY_CHECK, pseudonyms.study_key(f"outputs of {pseudonyms.site_id}")
    if note.exists() and note.read_text(encoding="utf-8") == check:
        return
    if any(PatientPseudonym.pattern.fullmatch(folder.name) for folder in out.iterdir()):
        problem = "it holds studies that were made with another key or SITEID, or by an older release; name a new one"
        raise InvalidArgument(name="OUT", problem=problem)
    write_whole(note, check.encode(), mode=0o600)


class Journal:
    """The completed studies. Use it only in `exclusive_run`."""

    def __init__(self, job: Job, profile_digest: str, pseudonyms: Pseudonyms) -> None:
        self._job = job
        self._pseudonyms = pseudonyms
        self._options = [version("ricord-federation"), profile_digest, *job.model_dump(mode="json").values()]
        self._folder = job.out / UNFINISHED
        self._file = self._folder / "journal.jsonl"
        self._known = self._read()
        self._any_transient = False

    def result(self, task: StudyTask) -> StudyResult | None:
        """The result of a study, if it is known and its outputs are there."""
        outcomes = self._known.get(self._name(task), ())
        is_here = all(file.output is None or (self._job.out / file.output).is_file() for file in outcomes)
        return StudyResult(outcomes) if is_here and len(outcomes) == len(task.study.instances) else None

    def add(self, task: StudyTask, result: StudyResult) -> None:
        """Note a study whose outputs are in place, unless another run may end otherwise."""
        if any(outcome.is_transient for outcome in result.outcomes):
            self._any_transient = True
            return
        self._folder.mkdir(mode=0o700, exist_ok=True)
        append(self._file, b"\n" + _LINE.dump_json((self._name(task), result.outcomes)) + b"\n", mode=0o600)

    def close(self, *, finished: bool) -> None:
        """Keep the journal for the next run if something is left to do, else remove it."""
        if finished and not self._any_transient:
            rmtree(self._folder, ignore_errors=True)

    def _read(self) -> dict[StudyKey, tuple[FileOutcome, ...]]:
        """Every whole line; a kill may have cut the last one."""
        known = {}
        if self._file.is_file():
            for line in self._file.read_bytes().splitlines():
                try:
                    name, outcomes = _LINE.validate_json(line)
                except ValidationError:
                    continue
                known[name] = outcomes
        return known

    def _name(self, task: StudyTask) -> StudyKey:
        """A study's name for its present files and options: 128 bits that only the key's holder can make."""
        study, held = task.study, task.held.code if task.held else ""
        files = [(instance.name, instance.sha256, instance.stamp) for instance in study.instances]
        return self._pseudonyms.study_key(
            f"unit {json.dumps([self._options, study.key, held, task.incomplete, files])}"
        )
