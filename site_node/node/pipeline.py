"""Move studies through the stages, restartable after a kill at any point.

A stage reads the records of previous stages and writes its own record whole and durable; only then the ledger moves the
study on, in one transaction. An interrupted stage runs again on the same records with the same result, so nothing is
lost and nothing is doubled. An error with one study ends that study only. Receptions and persons may change a study
meanwhile: the result of a stage that began before is void.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from shared.durable import LONGEST_PAUSE, clear_folder, reporting_full_disk
from shared.errors import (
    AgreementError,
    DiskFull,
    DiskNearlyFull,
    FederationError,
    HomeBusy,
    InvalidIdentifier,
    NotFound,
    ProtocolError,
    RicordError,
    SettingsError,
    TransportError,
    TrustError,
)
from shared.ids import StudyKey, Uid
from shared.terminal import trace_lines
from site_node.blanking import Blanking
from site_node.home.folder import SiteHome
from site_node.home.ledger import ENDED, STATE_ORDER, Ledger, State, StudyChanged, StudyEntry
from site_node.home.records import Records
from site_node.reasons import reason_for
from site_node.review.boxes import decided_blanking
from site_node.study import (
    Deidentified,
    Ending,
    Excluded,
    Included,
    LeftOut,
    Reason,
    Received,
    Refused,
    Review,
    Sealed,
    Severity,
    Submitted,
    Validated,
)

log = structlog.get_logger(__name__)

# Errors of the node, not of a study: the study waits where it is.
_BLOCKING = (AgreementError, DiskFull, FederationError, ProtocolError, SettingsError, TransportError, TrustError)


Inspect = Callable[[Deidentified, frozenset[str]], Deidentified | Refused]


class Advance(NamedTuple):
    """How far a study came: the states it reached, and the error, not of the study, that stopped it there."""

    reached: tuple[State, ...] = ()
    error: RicordError | None = None


# Advances studies in other processes: `None` where the process died with the study each time.
Workers = Callable[[Sequence[StudyKey], State], Iterator[tuple[StudyKey, Advance | None]]]
BY_WORKERS = (State.RECEIVED, State.INCLUDED, State.DEIDENTIFIED)  # these stages take time, and no connection


@dataclass(frozen=True)
class Stages:
    """What the pipeline does at each stage. A stage that is `None` is not open: studies wait before it.

    `screen` and `inspect` receive the codes of the reasons that a person released for the study, `deidentify` and
    `validate` the boxes that a person decided to blank.
    """

    screen: Callable[[Received, frozenset[str]], Included | Review | Excluded]
    deidentify: Callable[[Included, Path, Blanking | None], Deidentified | Refused] | None = None
    inspect: Inspect | None = None
    validate: Callable[[Included, Deidentified, Path, Blanking | None], Validated | Refused] | None = None
    add_to_library: Callable[[Validated], None] | None = None
    seal: Callable[[Validated, int], Sealed] | None = None
    submit: Callable[[Sealed], Submitted] | None = None


@dataclass(frozen=True)
class Progress:
    """How many studies one pass moved, and the error, not of a study, that blocked it."""

    moved: int
    blocked: RicordError | None


class Pipeline:
    """Moves a site's studies. Use it inside `SiteHome.writing()`: only one process moves studies.

    Args:
        home: where the studies are.
        ledger: its ledger.
        stages: what to do at each stage.
        originals_stay: how long our copies of the originals stay after their study ended; `None` keeps them for good.
        report: called with each state that a study reaches.
        halted: called between two stages; `True` ends the pass early.
        shortage: called before each stage; while it returns an error, only sealed studies go on.
        now: the clock.
    """

    def __init__(
        self,
        home: SiteHome,
        ledger: Ledger,
        stages: Stages,
        *,
        originals_stay: timedelta | None = timedelta(0),
        report: Callable[[StudyKey, State], None] = lambda _key, _state: None,
        halted: Callable[[], bool] = lambda: False,
        shortage: Callable[[], RicordError | None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._home = home
        self._records = Records(home)
        self._ledger = ledger
        self._stages = stages
        self._originals_stay = originals_stay
        self._report = report
        self._halted = halted
        self._shortage = shortage
        self._now = now
        self._steps: dict[State, Callable[[StudyEntry], State | None]] = {
            State.RECEIVED: self._screen,
            State.INCLUDED: self._deidentify,
            State.DEIDENTIFIED: self._validate,
            State.VALIDATED: self._seal,
            State.SEALED: self._submit,
        }

    def run(self, until: State = State.SUBMITTED, workers: Workers | None = None) -> Progress:
        """Move every study up to the state `until`, or to its ending; `workers` do all but sealing and sending.

        Raises errors of the node that occur before sending (`DiskFull`, a missing key). An error that blocks sending
        is returned, and the other studies go on until they are sealed.
        """
        self._clean_up()
        moved, blocked, shortage = 0, None, None
        for key, advanced in self._advanced(until, workers):
            limit = State.SEALED if blocked and until is State.SUBMITTED else until
            here = self.advance(key, limit) if advanced.error is None else advanced
            moved += bool(advanced.reached or here.reached)
            if isinstance(here.error, DiskNearlyFull):
                shortage = here.error
            elif here.error is not None and self._ledger.study(key).state is State.SEALED:
                blocked = blocked or here.error
            elif here.error is not None:
                raise here.error
        return Progress(moved=moved, blocked=blocked or shortage)

    def advance(self, key: StudyKey, until: State) -> Advance:
        """Move one study, stage after stage, up to the state `until`."""
        reached: list[State] = []
        error = None
        while error is None and not self._halted():
            with self._home.changing():  # what is entered now is entered whole
                entry = self._ledger.study(key)
            if entry.state not in self._steps or STATE_ORDER.index(entry.state) >= STATE_ORDER.index(until):
                break
            try:
                state, error = self._step(entry)
            except StudyChanged:
                continue
            if state is None:
                break
            reached.append(state)
            self._report(key, state)
            self._remove_leftovers(self._ledger.study(key))
        return Advance(tuple(reached), error)

    def _advanced(self, until: State, workers: Workers | None) -> Iterator[tuple[StudyKey, Advance]]:
        """Every study that is to move: those that workers advance after the others, as they are ready."""
        entries = self._ledger.studies(*STATE_ORDER[: STATE_ORDER.index(until)])
        for_workers = [entry.key for entry in entries if workers is not None and entry.state in BY_WORKERS]
        yield from ((key, Advance()) for key in (entry.key for entry in entries) if key not in set(for_workers))
        if workers is not None and for_workers:
            limit = STATE_ORDER[min(STATE_ORDER.index(until), STATE_ORDER.index(State.VALIDATED))]
            for key, advanced in workers(for_workers, limit):
                if advanced is None:
                    self._ledger.advance(
                        key, State.QUARANTINED, reasons=(reason_for("worker-died", severity=Severity.REVIEW),)
                    )
                for state in (State.QUARANTINED,) if advanced is None else advanced.reached:
                    self._report(key, state)
                yield key, advanced or Advance((State.QUARANTINED,))

    def _step(self, entry: StudyEntry) -> tuple[State | None, RicordError | None]:
        """Run the next stage of one study: the state reached, or `None` and perhaps the error that makes it wait."""
        if entry.state is not State.SEALED and (shortage := self._shortage()):
            return None, shortage
        try:
            with reporting_full_disk(self._home.folder):
                return self._steps[entry.state](entry), None
        except StudyChanged:
            raise
        except _BLOCKING as error:
            return None, error
        except RicordError as error:
            why = Reason(code=error.code, message=error.public, severity=Severity.REJECT)
            return self._advance(entry, State.REFUSED, (why,)), None
        except MemoryError:
            return self._advance(entry, State.QUARANTINED, (reason_for("too-large", severity=Severity.REVIEW),)), None
        except Exception as error:  # noqa: BLE001 -- a defect of ours must not stop the other studies; a person sees it
            log.error("stage.defect", study=entry.key, state=entry.state.value, trace=trace_lines(error))
            return self._advance(entry, State.QUARANTINED, (reason_for("internal-error"),)), None

    def _screen(self, entry: StudyEntry) -> State:
        study = self._records.read(entry.key, Received)
        result = self._stages.screen(study, entry.released)
        if isinstance(result, Included):
            self._records.write(entry.key, result)
            return self._advance(entry, State.INCLUDED, result.warnings, left_out=result.left_out)
        state = State.EXCLUDED if isinstance(result, Excluded) else State.QUARANTINED
        return self._advance(entry, state, result.reasons)

    def _deidentify(self, entry: StudyEntry) -> State | None:
        if self._stages.deidentify is None:
            return None
        out = self._home.deidentified(entry.key)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        blank = decided_blanking(self._home, self._ledger, entry.key)
        result = self._stages.deidentify(self._records.read(entry.key, Included), out, blank)
        if isinstance(result, Deidentified) and self._stages.inspect is not None:
            result = self._stages.inspect(result, entry.released)
        if isinstance(result, Refused):
            return self._refuse(entry, result)
        self._records.write(entry.key, result)
        uid = result.study_instance_uid
        return self._advance(entry, State.DEIDENTIFIED, entry.reasons, left_out=result.left_out, study=uid)

    def _validate(self, entry: StudyEntry) -> State | None:
        if self._stages.validate is None:
            return None
        included, output = self._records.read(entry.key, Included), self._records.read(entry.key, Deidentified)
        report = self._home.reports / f"{output.study_instance_uid}.json"
        blank = decided_blanking(self._home, self._ledger, entry.key)
        result = self._stages.validate(included, output, report, blank)
        if isinstance(result, Refused):
            return self._refuse(entry, result)
        if self._stages.add_to_library is not None:
            self._stages.add_to_library(result)
        self._records.write(entry.key, result)
        return self._advance(entry, State.VALIDATED, entry.reasons, left_out=result.study.left_out)

    def _seal(self, entry: StudyEntry) -> State | None:
        if self._stages.seal is None:
            return None
        sealed = self._stages.seal(self._records.read(entry.key, Validated), self._ledger.sequence(entry.key))
        self._records.write(entry.key, sealed)
        try:
            return self._advance(entry, State.SEALED, entry.reasons)
        except StudyChanged:
            for path in sealed_files(sealed):
                path.unlink(missing_ok=True)
            raise

    def _submit(self, entry: StudyEntry) -> State | None:
        if self._stages.submit is None:
            return None
        submitted = self._stages.submit(self._records.read(entry.key, Sealed))
        self._ledger.advance(entry.key, State.SUBMITTED, reasons=entry.reasons, receipt=submitted.receipt.name)
        return State.SUBMITTED

    def _advance(
        self,
        entry: StudyEntry,
        state: State,
        reasons: Sequence[Reason],
        *,
        left_out: Sequence[LeftOut] = (),
        study: Uid | None = None,
    ) -> State:
        endings = _endings(left_out)
        with self._home.changing():
            self._ledger.advance(entry.key, state, reasons=reasons, left_out=endings, study=study, since=entry)
        return state

    def _refuse(self, entry: StudyEntry, refused: Refused) -> State:
        """End a study that a stage refused; its record says which instance was refused for what."""
        state = State(refused.ending.value)
        self._records.write(entry.key, refused)
        return self._advance(entry, state, refused.reasons, left_out=refused.left_out)

    def _remove_leftovers(self, entry: StudyEntry) -> None:
        """Remove the leftovers of a study that ended; one in quarantine keeps everything for the person who looks."""
        key, state = entry.key, entry.state
        if state not in ENDED or state is State.QUARANTINED:
            return
        with suppress(HomeBusy), self._home.deleting():  # while somebody receives it waits for the next pass
            if self._ledger.study(key).is_as(entry):
                self._remove(entry)

    def _remove(self, entry: StudyEntry) -> None:
        """Remove what an ended study no longer needs, its originals once their time is over."""
        key, state = entry.key, entry.state
        shutil.rmtree(self._home.quarantine / key, ignore_errors=True)
        if state is State.SUBMITTED:
            sealed = self._records.find(key, Sealed)
            for path in sealed_files(sealed) if sealed else ():
                path.unlink(missing_ok=True)
        if self._originals_stay is not None and self._now() - entry.changed_at >= self._originals_stay:
            shutil.rmtree(self._home.spool / key, ignore_errors=True)
            shutil.rmtree(self._home.work(key), ignore_errors=True)
            if self._originals_stay:  # else the study's ending implies it
                log.info("originals.deleted", study=key, state=state.value)
        else:
            shutil.rmtree(self._home.deidentified(key), ignore_errors=True)

    def _clean_up(self) -> None:
        """Remove half-written files, leftovers after a kill, and originals whose time is over."""
        with self._home.changing():  # a reception writes its record under this lock
            for folder in (self._home.outbox, self._home.receipts, self._home.reports, *self._home.work_folders()):
                clear_folder(folder)
        for folder in self._home.shared_folders():
            clear_folder(folder, unchanged_for=LONGEST_PAUSE)
        for folder in (*self._home.work_folders(), *self._home.spool.iterdir()):
            try:
                entry = self._ledger.study(StudyKey(folder.name))
            except (InvalidIdentifier, NotFound):  # an interrupted reception; it is received again
                continue
            self._remove_leftovers(entry)


def sealed_files(sealed: Sealed) -> tuple[Path, ...]:
    """A sealed study's files in the outbox: the ciphertext and the manifest beside it."""
    return sealed.ciphertext, sealed.ciphertext.with_suffix(".manifest.json")


def _endings(left_out: Sequence[LeftOut]) -> list[tuple[str, Ending, str]]:
    return [(entry.instance.name, entry.ending, entry.reasons[0].code) for entry in left_out]
