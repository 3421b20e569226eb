"""The way of one study through the stages, restartable after a kill at any point.

A stage reads the records before it, writes its own record whole and durable, and only then does the ledger move on, in
one transaction. A stage that was cut short is done again from the same records and gives the same result, so nothing is
lost and nothing is doubled. What goes wrong with one study ends that study only.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from shared.durable import sync_folder
from shared.errors import (
    AgreementError,
    DiskFull,
    FederationError,
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
from site_node.home.ledger import ENDED, WAY, Ledger, State, StudyEntry
from site_node.home.records import Records
from site_node.study import (
    Deidentified,
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

# Not this study's fault: the node itself cannot go on, and the study waits where it is.
_BLOCKING = (AgreementError, DiskFull, FederationError, ProtocolError, SettingsError, TransportError, TrustError)


Inspect = Callable[[Deidentified, frozenset[str]], Refused | None]


@dataclass(frozen=True)
class Stages:
    """What is done at each stage. One that is `None` is not open yet: studies wait before it.

    `screen` and `inspect` are told which reasons a person has released for the study, `deidentify` and `validate` what
    a person decided to blank.
    """

    screen: Callable[[Received, frozenset[str]], Included | Review | Excluded]
    deidentify: Callable[[Included, Path, Blanking | None], Deidentified | Refused] | None = None
    inspect: Inspect | None = None
    validate: Callable[[Included, Deidentified, Path, Blanking | None], Validated | Refused] | None = None
    keep: Callable[[Validated], None] | None = None  # in the library
    seal: Callable[[Validated, int], Sealed] | None = None
    submit: Callable[[Sealed], Submitted] | None = None


@dataclass(frozen=True)
class Progress:
    """What one pass did: how many studies moved, and what kept the node, not a study, from sending."""

    moved: int
    blocked: RicordError | None


class Pipeline:
    """Moves a site's studies. Use inside `SiteHome.writing()`: there is one writer.

    Args:
        home: where the studies are.
        ledger: its ledger.
        stages: what is done at each stage.
        originals_stay: how long our copies of the originals stay after their study's end; `None` keeps them for good.
        report: told of each study's new state as it is reached.
        halted: asked between two stages; ends the pass early, whole.
        shortage: asked before each stage; while it answers, only what is sealed goes on.
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
        self._blocks: list[RicordError] = []
        self._short: RicordError | None = None
        self._steps: dict[State, Callable[[StudyEntry], State | None]] = {
            State.RECEIVED: self._screen,
            State.INCLUDED: self._deidentify,
            State.DEIDENTIFIED: self._validate,
            State.VALIDATED: self._seal,
            State.SEALED: self._submit,
        }

    def run(self, until: State = State.SUBMITTED) -> Progress:
        """Take every study as far as `until`, or to where it ends.

        Raises what keeps the node as a whole from working before anything leaves (`DiskFull`, a missing key); what
        blocks sending is told in the answer, and the other studies go on up to there.
        """
        self._tidy()
        self._blocks.clear()
        self._short = None
        moved = 0
        for entry in self._ledger.studies(*WAY[: WAY.index(until)]):
            limit = State.SEALED if self._blocks and until is State.SUBMITTED else until
            moved += self._take_along(entry.key, limit)
        return Progress(moved=moved, blocked=self._blocks[0] if self._blocks else self._short)

    def _take_along(self, key: StudyKey, until: State) -> bool:
        """One study, stage after stage; whether it moved."""
        moved = False
        while not self._halted():
            entry = self._ledger.study(key)
            if entry.state not in self._steps or WAY.index(entry.state) >= WAY.index(until):
                break
            reached = self._step(entry)
            if reached is None:
                break
            moved = True
            self._report(key, reached)
            self._clear(self._ledger.study(key))
        return moved

    def _step(self, entry: StudyEntry) -> State | None:
        """One stage of one study: the state reached, or `None` where it has to wait."""
        if entry.state is not State.SEALED and (short := self._shortage()):
            self._short = short
            return None
        try:
            return self._steps[entry.state](entry)
        except _BLOCKING as error:
            if entry.state is not State.SEALED:
                raise
            self._blocks.append(error)
            return None
        except RicordError as error:
            return self._end(entry.key, State.REFUSED, (_defect(error.code, error.public, Severity.REJECT),))
        except Exception as error:  # noqa: BLE001 -- a defect of ours must not stop the other studies; a person sees it
            log.error("stage.defect", study=entry.key, state=entry.state.value, trace=trace_lines(error))
            reason = _defect(
                "internal-error", "A stage met a defect of its own; tell us, or try again.", Severity.REVIEW
            )
            return self._end(entry.key, State.QUARANTINED, (reason,))

    def _screen(self, entry: StudyEntry) -> State:
        study = self._records.read(entry.key, Received)
        found = self._stages.screen(study, entry.released)
        if isinstance(found, Included):
            self._records.write(entry.key, found)
            return self._advance(entry.key, State.INCLUDED, found.warnings, left_out=found.left_out)
        return self._end(entry.key, State.EXCLUDED if isinstance(found, Excluded) else State.QUARANTINED, found.reasons)

    def _deidentify(self, entry: StudyEntry) -> State | None:
        if self._stages.deidentify is None:
            return None
        out = self._home.work(entry.key) / "deidentified"
        shutil.rmtree(out, ignore_errors=True)
        blank = self._records.find(entry.key, Blanking)
        found = self._stages.deidentify(self._records.read(entry.key, Included), out, blank)
        if isinstance(found, Deidentified) and self._stages.inspect is not None:
            found = self._stages.inspect(found, entry.released) or found
        if isinstance(found, Refused):
            return self._end(entry.key, State(found.ending.value), found.reasons)
        _sync_tree(out)
        self._records.write(entry.key, found)
        uid = found.study_instance_uid
        return self._advance(entry.key, State.DEIDENTIFIED, entry.reasons, left_out=found.left_out, study=uid)

    def _validate(self, entry: StudyEntry) -> State | None:
        if self._stages.validate is None:
            return None
        included, output = self._records.read(entry.key, Included), self._records.read(entry.key, Deidentified)
        report = self._home.reports / f"{output.study_instance_uid}.json"
        found = self._stages.validate(included, output, report, self._records.find(entry.key, Blanking))
        if isinstance(found, Refused):
            return self._end(entry.key, State(found.ending.value), found.reasons)
        if self._stages.keep is not None:
            self._stages.keep(found)
        self._records.write(entry.key, found)
        return self._advance(entry.key, State.VALIDATED, entry.reasons)

    def _seal(self, entry: StudyEntry) -> State | None:
        if self._stages.seal is None:
            return None
        sealed = self._stages.seal(self._records.read(entry.key, Validated), self._ledger.sequence(entry.key))
        self._records.write(entry.key, sealed)
        return self._advance(entry.key, State.SEALED, entry.reasons)

    def _submit(self, entry: StudyEntry) -> State | None:
        if self._stages.submit is None:
            return None
        done = self._stages.submit(self._records.read(entry.key, Sealed))
        self._ledger.advance(entry.key, State.SUBMITTED, reasons=entry.reasons, receipt=done.receipt.name)
        return State.SUBMITTED

    def _advance(
        self,
        key: StudyKey,
        state: State,
        reasons: Sequence[Reason],
        *,
        left_out: Sequence[LeftOut] = (),
        study: Uid | None = None,
    ) -> State:
        gone = [(one.instance.path.stem, one.ending, one.reasons[0].code) for one in left_out]
        self._ledger.advance(key, state, reasons=reasons, left_out=gone, study=study)
        return state

    def _end(self, key: StudyKey, state: State, reasons: Sequence[Reason]) -> State:
        self._ledger.advance(key, state, reasons=reasons)
        return state

    def _clear(self, entry: StudyEntry) -> None:
        """Remove what a study that ended leaves behind. One in quarantine keeps all of it for the person who looks."""
        key, state = entry.key, entry.state
        if state not in ENDED or state is State.QUARANTINED:
            return
        shutil.rmtree(self._home.quarantine / key, ignore_errors=True)
        if state is State.SUBMITTED:
            sealed = self._records.find(key, Sealed)
            for path in sealed_files(sealed) if sealed else ():
                path.unlink(missing_ok=True)
        if self._originals_stay is not None and self._now() - entry.changed_at >= self._originals_stay:
            shutil.rmtree(self._home.spool / key, ignore_errors=True)
            shutil.rmtree(self._home.work(key), ignore_errors=True)
            if self._originals_stay:  # else the study's ending says it
                log.info("originals.deleted", study=key, state=state.value)
        else:
            shutil.rmtree(self._home.work(key) / "deidentified", ignore_errors=True)

    def _tidy(self) -> None:
        """Clear what ended: what a kill left undone, originals whose time is over; and drop half-written files."""
        for folder in (self._home.outbox, self._home.receipts, self._home.reports):
            for unfinished in folder.glob(".*.tmp"):  # names of `shared.durable`
                unfinished.unlink()
        for folder in (*self._home.work_folders(), *self._home.spool.iterdir()):
            try:
                entry = self._ledger.study(StudyKey(folder.name))
            except (InvalidIdentifier, NotFound):  # a reception that was cut short; it is received again
                continue
            self._clear(entry)


def sealed_files(sealed: Sealed) -> tuple[Path, ...]:
    """A sealed study's files in the outbox: the ciphertext and the manifest beside it."""
    return sealed.ciphertext, sealed.ciphertext.with_suffix(".manifest.json")


def _sync_tree(folder: Path) -> None:
    """Make every file below `folder` durable, and the names with them."""
    for where, _, files in os.walk(folder):
        for name in files:
            with (Path(where) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(where))


def _defect(code: str, message: str, severity: Severity) -> Reason:
    return Reason(code=code, message=message, severity=severity)
