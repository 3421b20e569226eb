"""How federated work stands in a running node: the node writes a file at each change, for `status` and `doctor`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from shared.durable import write_whole
from shared.frozen import Frozen

Doing = Literal["starting", "waiting", "working", "lost", "stopped"]
_WORDS: dict[Doing, str] = {
    "starting": "it starts its worker",
    "waiting": "it waits for work",
    "working": "it answers messages",
    "lost": "it does not reach the coordinator and tries again",
    "stopped": "it tries again soon",
}


class FederationState(Frozen):
    """What a node does for federated work, since when, and what keeps it from it (a sentence, or nothing)."""

    doing: Doing
    since: datetime
    problem: str = ""
    offline: bool = True  # whether the worker's process can make no connection, as it should

    @property
    def words(self) -> str:
        """The same for a person."""
        parts = [f"{_WORDS[self.doing]} (since {self.since.astimezone():%Y-%m-%d %H:%M})"]
        parts += [self.problem.rstrip(".")] if self.problem else []
        parts += [] if self.offline else ["this kernel does not close the network to its worker"]
        return "; ".join(parts)


class StateFile:
    """The file, in the folder of federated work."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "state.json"
        self._last: FederationState | None = None

    def say(self, doing: Doing, *, problem: str = "", offline: bool = True) -> None:
        """Write a state, where it is another than the last."""
        last = self._last
        if last is None or (last.doing, last.problem, last.offline) != (doing, problem, offline):
            self._last = FederationState(doing=doing, since=datetime.now(UTC), problem=problem, offline=offline)
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._file, self._last.model_dump_json().encode(), mode=0o600)

    def read(self) -> FederationState | None:
        """The last state that was written; `None` where there is none."""
        try:
            return FederationState.model_validate_json(self._file.read_bytes())
        except (OSError, ValidationError):
            return None
