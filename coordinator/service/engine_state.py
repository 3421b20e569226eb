"""How the federation's engine is, in a file of the home: for `doctor`, `run list` and whoever asks why nothing runs.

`serve` writes it at each change. A `serve` that was killed leaves the last one, so a reader looks at the ports, too.
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

import structlog
from pydantic import ValidationError

from coordinator.home.identity import Clock, utc_now
from coordinator.store.interface import Store
from shared.counts import counted
from shared.durable import write_whole
from shared.errors.base import RicordError
from shared.frozen import Frozen

Alive = Literal["starting", "standby", "serving"]
Doing = Literal[Alive, "ended", "off"]

_WORDS: dict[Doing, str] = {
    "starting": "the engine starts",
    "standby": "the engine stands by, since another coordinator executes the runs",
    "serving": "the engine executes runs",
    "ended": "the engine has ended and is started again",
    "off": "`serve` runs no engine",
}
_log = structlog.get_logger("coordinator")


class EngineState(Frozen):
    """What the engine does and since when; how often it ended since `serve` began, when last, and why."""

    doing: Doing
    since: datetime
    restarts: int = 0
    last_end: str = ""
    last_end_at: datetime | None = None

    @property
    def executes(self) -> bool:
        """Whether runs are executed, here or at another coordinator."""
        return self.doing in {"serving", "standby"}

    @property
    def words(self) -> str:
        """The same for a person."""
        words = f"{_WORDS[self.doing]} (since {_moment(self.since)})"
        if self.last_end_at is None:
            return words
        ended = f"it ended {counted(self.restarts, 'time')} since `serve` began"
        return f"{words}; {ended}, last on {_moment(self.last_end_at)}: {self.last_end}"


class EngineFile:
    """The file, in the folder of the federation's engine."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "engine.json"

    def read(self) -> EngineState | None:
        """The last state that was written; `None` where there is none."""
        try:
            return EngineState.model_validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, state: EngineState) -> None:
        """Replace it; raises what `write_whole` raises."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self._file, state.model_dump_json().encode(), mode=0o600)


class EngineNotes:
    """What `serve` notes of its engine: every change in the file, each end in the audit log as well.

    The engine goes on whether or not disk and database take the note.
    """

    def __init__(self, folder: Path, store: Store, clock: Clock = utc_now) -> None:
        self._file = EngineFile(folder)
        self._store = store
        self._now = clock
        self._last = EngineState(doing="off", since=clock())

    def heard(self, doing: Doing) -> None:
        """It is alive, or is not wanted any more."""
        if doing != self._last.doing:
            self._write(self._last.model_copy(update={"doing": doing, "since": self._now()}))
            _log.info("federation.engine", doing=doing, restarts=self._last.restarts)

    def ended(self, action: str, reason: str) -> None:
        """It ended without being asked to: `action` says how in the audit log."""
        now = self._now()
        update = {"doing": "ended", "since": now, "last_end": reason, "last_end_at": now}
        self._write(self._last.model_copy(update={**update, "restarts": self._last.restarts + 1}))
        try:
            with self._store.begin() as work:
                work.append_event(at=now, actor="coordinator", action=action, about="federation", result=reason)
        except RicordError as error:
            _log.warning("federation.not-noted", code=error.code)

    def _write(self, state: EngineState) -> None:
        self._last = state
        try:
            self._file.write(state)
        except (RicordError, OSError) as error:
            _log.warning("federation.state-not-written", kind=type(error).__name__)


def _moment(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
