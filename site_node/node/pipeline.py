"""Move studies through the stages, restartable after a kill at any point.

A stage reads the records of previous stages and writes its own record whole and durable; only then the ledger moves the
study on, in one transaction. An interrupted stage runs again on the same records with the same result, so nothing is
lost and nothing is doubled. Receptions and persons may change a study meanwhile: the result of a stage that began
before is void.

A `Verdict` ends its study. Every other error blocks: each study stays where it is. A defect of this program puts its
study into quarantine, unless it is sealed: then it waits, since nothing is wrong with it.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import structlog

from shared.durable import reporting_full_disk
from shared.errors.agreements import AgreementSuperseded, StudyQuotaReached
from shared.errors.base import InternalError, RicordError, Verdict
from shared.errors.protocol import EditionNotCovered, ProtocolError
from shared.errors.storage import DiskNearlyFull, HomeFailed
from shared.errors.trust import ReceiptInvalid
from shared.ids import StudyKey, Uid
from shared.terminal import trace_lines
from site_node.home.folder import SiteHome
from site_node.home.ledger import STATE_ORDER, Ledger, State, StudyChanged, StudyEntry
from site_node.home.library import remove_study
from site_node.home.records import Records
from site_node.node.leftovers import Leftovers
from site_node.node.obstacles import obstacle_of
from site_node.node.sending import Send, Sending
from site_node.node.stages import Stages
from site_node.reasons import reason_for
from site_node.review.boxes import decided_blanking
from site_node.study import (
    Deidentified,
    Excluded,
    Included,
    LeftOut,
    Reason,
    Received,
    Refused,
    Sealed,
    Severity,
    Submitted,
    Validated,
)
from site_node.submit.outbox import discard

log = structlog.get_logger(__name__)


class Step(NamedTuple):
    """One stage of a study: where it began, where the study came, and how long it took where that is known here."""

    begun: State
    reached: State
    seconds: float | None = None


class Advance(NamedTuple):
    """How far a study came: the steps it made, and the error, not of the study, that stopped it there."""

    steps: tuple[Step, ...] = ()
    error: RicordError | None = None


_WITHDRAWN = reason_for("withdrawn")
# May have met one study only; the next one is tried.
_PERHAPS_OF_ONE = (InternalError, HomeFailed, ReceiptInvalid, StudyQuotaReached)

# Advances studies in other processes: `None` where the process died with the study each time.
Workers = Callable[[Sequence[StudyKey], State], Iterator[tuple[StudyKey, Advance | None]]]
BY_WORKERS = (State.RECEIVED, State.INCLUDED, State.DEIDENTIFIED)  # these stages take time, and no connection


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
        originals_stay, grows_for, now: see `Leftovers`.
        report: called with each step of a study.
        at_once: how many sealed studies are sent side by side.
        halted: called between two stages; `True` ends the pass early.
        shortage: called before each stage; while it returns an error, only sealed studies go on.
    """

    def __init__(
        self,
        home: SiteHome,
        ledger: Ledger,
        stages: Stages,
        *,
        originals_stay: timedelta | None = timedelta(0),
        grows_for: timedelta = timedelta(0),
        at_once: int = 1,
        report: Callable[[StudyKey, Step], None] = lambda _key, _step: None,
        halted: Callable[[], bool] = lambda: False,
        shortage: Callable[[], RicordError | None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._home = home
        self._records = Records(home)
        self._ledger = ledger
        self._stages = stages
        self._at_once = at_once
        self._limit = State.SUBMITTED  # how far studies go in this pass: no further than sealed once sending is blocked
        self._report = report
        self._halted = halted
        self._shortage = shortage
        self._leftovers = Leftovers(home, ledger, originals_stay=originals_stay, grows_for=grows_for, now=now)
        self._steps: dict[State, Callable[[StudyEntry], State | None]] = {
            State.RECEIVED: self._screen,
            State.INCLUDED: self._deidentify,
            State.DEIDENTIFIED: self._validate,
            State.VALIDATED: self._seal,
            State.SEALED: self._submit,
        }

    def run(self, until: State = State.SUBMITTED, workers: Workers | None = None) -> Progress:
        """Move every study up to the state `until`, or to its ending; `workers` do all but sending.

        Sealed studies are sent in threads; states are moved, and receipts entered, in the calling one.

        Raises errors of the node that occur before sending (`DiskFull`, a missing key). An error that blocks sending
        is returned, and the other studies go on until they are sealed; they are sent, too, if it may be one study's.
        """
        self._leftovers.clear()
        moved, blocked, waits, self._limit = set[StudyKey](), None, None, until
        for key, result in self._results(until, workers):
            moved |= {key} if result.steps else set()
            if result.error is None:
                continue
            if not isinstance(result.error, DiskNearlyFull) and self._ledger.study(key).state is State.SEALED:
                blocked = blocked or result.error
                self._limit = self._limit if isinstance(result.error, _PERHAPS_OF_ONE) else State.SEALED
            elif isinstance(result.error, (DiskNearlyFull, EditionNotCovered, *_PERHAPS_OF_ONE)):
                waits = waits or result.error
            else:
                raise result.error
        return Progress(moved=len(moved), blocked=blocked or waits)

    def advance(self, key: StudyKey, until: State) -> Advance:
        """Move one study, stage after stage, up to the state `until`."""
        steps: list[Step] = []
        error = None
        while error is None and not self._halted():
            with self._home.changing():  # what is entered now is entered whole
                entry = self._ledger.study(key)
            if entry.state not in self._steps or STATE_ORDER.index(entry.state) >= STATE_ORDER.index(until):
                break
            began = time.monotonic()
            try:
                state, error = self._step(entry)
            except StudyChanged:
                continue
            if state is None:
                break
            steps.append(Step(entry.state, state, time.monotonic() - began))
            self._report(key, steps[-1])
            self._leftovers.remove(self._ledger.study(key))
        return Advance(tuple(steps), error)

    def _results(self, until: State, workers: Workers | None) -> Iterator[tuple[StudyKey, Advance]]:
        """What became of each study before it was sent, then, where it was sent, of that."""
        with Sending(self._at_once) as sending:
            for key, advanced in self._advanced(until, workers):
                here = self.advance(key, _earlier(self._limit, State.SEALED)) if advanced.error is None else advanced
                yield key, Advance(here.steps or advanced.steps, here.error)
                if self._may_send(key):
                    yield from self._settled(sending.make_room())
                if self._may_send(key) and self._ledger.withdrawals.covers(*self._records.read(key, Sealed).named):
                    yield key, self.advance(key, State.SUBMITTED)
                elif self._may_send(key) and (submit := self._stages.submit) is not None:
                    sending.start(key, partial(self._send, key, submit))
            yield from self._settled(sending.rest())

    def _send(self, key: StudyKey, submit: Callable[[Sealed], Submitted]) -> Submitted:
        """In a thread of its own: no ledger is asked here."""
        return submit(self._records.read(key, Sealed))

    def _may_send(self, key: StudyKey) -> bool:
        return self._limit is State.SUBMITTED and not self._halted() and self._ledger.study(key).state is State.SEALED

    def _settled(self, ended: Iterator[tuple[StudyKey, Send]]) -> Iterator[tuple[StudyKey, Advance]]:
        """Move studies that were sent."""
        for key, end in ended:
            state, error = self._step(self._ledger.study(key), partial(self._submit, end=end))
            if state is not None:
                self._report(key, Step(State.SEALED, state))
                self._leftovers.remove(self._ledger.study(key))
            yield key, Advance(() if state is None else (Step(State.SEALED, state),), error)
            if state in (State.VALIDATED, State.RECEIVED):  # agreement or edition changed: it is sealed or made anew
                yield key, self.advance(key, self._limit)

    def _advanced(self, until: State, workers: Workers | None) -> Iterator[tuple[StudyKey, Advance]]:
        """Every study that is to move: those that workers advance after the others, as they are ready."""
        entries = self._ledger.studies(*STATE_ORDER[: STATE_ORDER.index(until)])
        for_workers = [entry.key for entry in entries if entry.state in BY_WORKERS]
        yield from ((entry.key, Advance()) for entry in entries if workers is None or entry.state not in BY_WORKERS)
        if workers is not None:
            for key, result in workers(for_workers, _earlier(until, State.SEALED)):
                advanced = self._worker_died(key) if result is None else result
                for step in advanced.steps:
                    self._report(key, step)
                yield key, advanced

    def _worker_died(self, key: StudyKey) -> Advance:
        """Quarantine a study with which a worker died each time, unless it was sealed by then."""
        begun = self._ledger.study(key).state
        if begun is State.SEALED:
            return Advance((Step(State.VALIDATED, begun),))
        self._ledger.advance(key, State.QUARANTINED, reasons=(reason_for("worker-died", severity=Severity.REVIEW),))
        return Advance((Step(begun, State.QUARANTINED),))

    def _step(
        self, entry: StudyEntry, stage: Callable[[StudyEntry], State | None] | None = None
    ) -> tuple[State | None, RicordError | None]:
        """Run the next stage of one study: the state reached, or `None` and perhaps the error that makes it wait."""
        if entry.state is not State.SEALED and (obstacle := self._stages.obstacle() or self._shortage()):
            return None, obstacle
        try:
            with reporting_full_disk(self._home.folder):
                return (stage or self._steps[entry.state])(entry), None
        except StudyChanged:
            raise
        except Verdict as error:
            why = Reason(code=error.code, message=error.public, severity=Severity.REJECT)
            return self._advance(entry, State.REFUSED, (why,)), None
        except Exception as error:  # noqa: BLE001 -- a defect of ours must not stop the other studies; a person sees it
            if (obstacle := obstacle_of(error)) is not None:
                return None, obstacle
            log.error("stage.defect", study=entry.key, state=entry.state.value, trace=trace_lines(error))
            if entry.state is State.SEALED:
                return None, error if isinstance(error, InternalError) else InternalError(type(error).__name__)
            code = "too-large" if isinstance(error, MemoryError) else "internal-error"
            return self._advance(entry, State.QUARANTINED, (reason_for(code, severity=Severity.REVIEW),)), None

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
        if self._stages.is_outdated(output):
            return self._begin_again(entry)
        report = self._home.reports / f"{output.study_instance_uid}.json"
        blank = decided_blanking(self._home, self._ledger, entry.key)
        result = self._stages.validate(included, output, report, blank)
        if isinstance(result, Refused):
            return self._refuse(entry, result)
        if self._stages.add_to_library is not None:
            self._stages.add_to_library(result)
        if self._ledger.withdrawals.covers(output.study_instance_uid, output.patient):  # maybe since it was cleared
            return self._exclude_withdrawn(entry, output.study_instance_uid)
        self._records.write(entry.key, result)
        return self._advance(entry, State.VALIDATED, entry.reasons, left_out=result.study.left_out)

    def _seal(self, entry: StudyEntry) -> State | None:
        if self._stages.seal is None:
            return None
        validated, previous = self._records.read(entry.key, Validated), self._records.find(entry.key, Sealed)
        if self._stages.is_outdated(validated.study):
            return self._begin_again(entry)
        validated = validated.without(self._ledger.withdrawals.instances(validated.study.study_instance_uid))
        if not validated.study.instances:
            return self._exclude_withdrawn(entry, validated.study.study_instance_uid)
        sealed = self._stages.seal(validated, self._ledger.sequence(entry.key))
        if previous is not None and previous.ciphertext != sealed.ciphertext:
            discard(previous)
        self._records.write(entry.key, sealed)
        try:
            return self._advance(entry, State.SEALED, entry.reasons)
        except StudyChanged:
            discard(sealed)
            raise

    def _submit(self, entry: StudyEntry, end: Send | None = None) -> State | None:
        """Send a study, or hear the end of its sending, and note it."""
        if self._stages.submit is None:
            return None
        sealed = self._records.read(entry.key, Sealed)
        if end is None and self._ledger.withdrawals.covers(*sealed.named):
            return self._exclude_withdrawn(entry, sealed.manifest.manifest.study)
        try:
            submitted = self._stages.submit(sealed) if end is None else end()
        except (AgreementSuperseded, ProtocolError) as error:
            # so the coordinator has not received it: it gives the receipt else
            is_amended = isinstance(error, AgreementSuperseded)
            if self._stages.seal is None or (is_amended and not self._stages.is_superseded(sealed)):
                raise
            if self._stages.is_of_another_edition(sealed):
                return self._begin_again(entry)
            if not is_amended:
                raise
            return self._advance(entry, State.VALIDATED, entry.reasons)
        with self._ledger.changing():
            self._ledger.submissions.enter(sealed.manifest.manifest)
            self._ledger.advance(
                entry.key,
                State.SUBMITTED,
                reasons=entry.reasons,
                receipt=submitted.receipt.name,
                audit_number=submitted.audit_number,
            )
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
        endings = [(each.instance.name, each.ending, each.reasons[0].code) for each in left_out]
        with self._home.changing():
            self._ledger.advance(entry.key, state, reasons=reasons, left_out=endings, study=study, since=entry)
        return state

    def _begin_again(self, entry: StudyEntry) -> State:
        """Send a study back to its first stage, since what it was de-identified by is no longer in force."""
        names = [instance.name for instance in self._records.read(entry.key, Received).instances]
        with self._home.changing(), self._ledger.changing():
            if not self._ledger.study(entry.key).is_as(entry):
                raise StudyChanged
            self._ledger.reopen(entry.key, (), names)
        return State.RECEIVED

    def _exclude_withdrawn(self, entry: StudyEntry, study: Uid) -> State:
        """End a study that was withdrawn, in the library, too."""
        remove_study(self._home.library, study)
        return self._advance(entry, State.EXCLUDED, (_WITHDRAWN, *entry.reasons))

    def _refuse(self, entry: StudyEntry, refused: Refused) -> State:
        """End a study that a stage refused; its record says which instance was refused for what."""
        state = State(refused.ending.value)
        self._records.write(entry.key, refused)
        return self._advance(entry, state, refused.reasons, left_out=refused.left_out)


def _earlier(*states: State) -> State:
    """Of states on the way the earliest."""
    return min(states, key=STATE_ORDER.index)
