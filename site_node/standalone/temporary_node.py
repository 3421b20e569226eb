"""A node for a folder: the pipeline over a temporary home, whose studies are read where they lie.

The home lasts as long as its process, in a private temporary folder; records of studies in it are PHI. New files are
made in the output folder, so that they can be renamed to their final names.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree

from shared.crypto.keys import load_secret
from shared.ids import StudyKey
from shared.protocol.loader import load_criteria, load_profile
from shared.protocol.profile import Profile
from site_node.deidentify.reasons import reason_of, unsupported
from site_node.deidentify.study import deidentify
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.home.records import Records
from site_node.node.pipeline import Pipeline
from site_node.node.stages import Stages
from site_node.pixels.client import PixelChecker
from site_node.pixels.inspect import inspect_apart
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.refusals import refused
from site_node.screen.decide import screen
from site_node.standalone.job import DEIDENTIFIED, FileOutcome, Job, StudyTask
from site_node.standalone.place import output_name, publish, remove_output
from site_node.standalone.scratch import scratch_folder
from site_node.study import (
    Deidentified,
    DeidentifiedInstance,
    Ending,
    FileStamp,
    Included,
    Received,
    Refused,
    Validated,
)
from site_node.validate.validation import validate

UNFINISHED = ".unfinished"  # in the output folder: new files on their way, and the journal; no PHI
_NOT_HOLDING = frozenset({"unreadable"})  # nobody is there to look: a file that the screen cannot read is left out
Outcomes = dict[str, FileOutcome]  # by the opaque name of the instance


class TemporaryNode:
    """The node of one process and one job; its home lies in `scratch`, which whoever started the run removes.

    Raises `KeyFileMissing`, `KeyFileOpen`, `KeyFileInvalid`, `ProtocolInvalid`.
    """

    def __init__(self, job: Job, scratch: Path) -> None:
        self.profile = load_profile(job.profile)
        self.pseudonyms = Pseudonyms(load_secret(job.key_file), job.site_id)
        self._job = job
        self._stack = ExitStack()
        if not scratch.is_dir():  # this is another machine
            scratch = self._stack.enter_context(scratch_folder())
        folder = Path(tempfile.mkdtemp(dir=scratch))
        self._home = SiteHome(folder, outputs=job.out / UNFINISHED)
        self._home.reports.mkdir(mode=0o700)
        self._records = Records(self._home)
        self._ledger = Ledger(self._home.ledger, durable=False)
        self._stack.callback(self._ledger.close)
        stages = _stages(job, self.profile, self.pseudonyms, self._stack.enter_context(PixelChecker()))
        self._pipeline = Pipeline(self._home, self._ledger, stages, originals_stay=None)

    def close(self) -> None:
        """Close the ledger and end the pixel checker's process."""
        self._stack.close()

    def process(self, task: StudyTask) -> tuple[FileOutcome, ...]:
        """The outcome of every instance of a study, after its outputs are published.

        Raises `OSError`, and errors that judge no study, such as `DiskFull`.
        """
        key, names = task.study.key, [instance.name for instance in task.study.instances]
        changed = _changed(task.study)
        instances = tuple(instance for instance in task.study.instances if instance.name not in changed)
        if not instances:
            self._publish(task, {})
            return tuple(changed[name] for name in names)
        self._records.write(key, task.study.model_copy(update={"instances": instances}))
        state = State.QUARANTINED if task.held else State.RECEIVED
        entered = [instance.name for instance in instances]
        self._ledger.add_study(key, entered, state=state, reasons=(task.held,) if task.held else ())
        try:
            advanced = self._pipeline.advance(key, State.VALIDATED if self._job.validated else State.DEIDENTIFIED)
            if advanced.error is not None:
                raise advanced.error
            made, left_out = self._result(key)
            outcomes = changed | left_out
            if self._job.whole_studies and (task.incomplete or made.keys() != set(names)):
                waits = any(outcome.outcome is Ending.QUARANTINED for outcome in outcomes.values())
                whole = FileOutcome.left_out("whole-study", Ending.QUARANTINED if waits else Ending.REFUSED)
                made, outcomes = {}, outcomes | dict.fromkeys(made, whole)
            outcomes |= self._publish(task, made)
        finally:
            rmtree(self._home.work(key), ignore_errors=True)
            rmtree(self._home.deidentified(key).parent, ignore_errors=True)
        ended = self._ledger.study(key)
        return tuple(outcomes.get(name) or FileOutcome(ended.state.ending, ended.reasons) for name in names)

    def _result(self, key: StudyKey) -> tuple[dict[str, DeidentifiedInstance], Outcomes]:
        """The new files of a study that passed its last stage, and the outcome of each instance that was left out."""
        state, find = self._ledger.study(key).state, self._records.find
        output: Deidentified | None = None
        if state is State.VALIDATED:
            output = self._records.read(key, Validated).study
        elif state is State.DEIDENTIFIED:
            output = self._records.read(key, Deidentified)
        records = (output,) if output else (find(key, Included), find(key, Deidentified), find(key, Refused))
        left_out = {
            entry.instance.name: FileOutcome(entry.ending, entry.reasons)
            for record in records
            for entry in (record.left_out if record else ())
        }
        return {instance.source.name: instance for instance in output.instances} if output else {}, left_out

    def _publish(self, task: StudyTask, made: dict[str, DeidentifiedInstance]) -> Outcomes:
        """Publish the new files, and remove those that a previous run made of files now left out."""
        out, published = self._job.out, Outcomes()
        outputs: dict[str, Path] = {}
        for instance in task.study.instances:
            name = output_name(task.study, instance, self.pseudonyms)
            if name is not None and instance.name in made:
                outputs[name] = made[instance.name].path
                published[instance.name] = FileOutcome(DEIDENTIFIED, made[instance.name].notes, output=name)
            elif name is not None:
                remove_output(name, out)
        publish(outputs, out)
        return published


def _changed(study: Received) -> Outcomes:
    """The outcome of files that changed or vanished since they were received."""
    outcomes: Outcomes = {}
    for instance in study.instances:
        try:
            is_unchanged = instance.stamp in {None, FileStamp.of(instance.path.stat())}
        except OSError:
            vanished = refused("", "unreadable")
            outcomes[instance.name] = FileOutcome(vanished.ending, (vanished.reason,))
            continue
        if not is_unchanged:
            ending, reason = reason_of(unsupported("changed-while-reading"))
            outcomes[instance.name] = FileOutcome(ending, (reason,))
    return outcomes


def _stages(job: Job, profile: Profile, pseudonyms: Pseudonyms, checker: PixelChecker) -> Stages:
    """The node's stages: of the criteria only the age, and the rest goes on without what a person would look at."""
    criteria, searched = load_criteria("adults"), job.pixel_check
    return Stages(
        screen=lambda study, _released: screen(
            study, criteria=criteria, clinical=None, clinical_checked=False, released=_NOT_HOLDING
        ),
        deidentify=lambda study, out, _blank: deidentify(
            study, profile=profile, pseudonyms=pseudonyms, out=out, searched=searched
        ),
        inspect=lambda output, _released: inspect_apart(output, checker) if searched else output,
        validate=lambda source, output, report, _blank: validate(
            source, output, profile=profile, pseudonyms=pseudonyms, report=report, searched=searched
        ),
    )
