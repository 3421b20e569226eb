"""A service's pulse: files that it touches while it goes on, by which another process sees that it is not stuck."""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from shared.errors.settings import ServiceStuck
from shared.monitoring.supervision import notify

Doing = Literal["waiting", "working"]
SILENCE_SECONDS: Mapping[Doing, float] = {"waiting": 60.0, "working": 1800.0}  # more means that it is stuck
_EVERY_SECONDS = 1.0


class Silence(NamedTuple):
    """What a service last said that it does, and how many seconds ago."""

    doing: Doing
    seconds: float

    @property
    def is_too_long(self) -> bool:
        """Whether the service is stuck: nothing that it does lasts so long."""
        return self.seconds > SILENCE_SECONDS[self.doing]


class Pulse:
    """The pulse of the service whose files are in `folder`. Any thread may beat."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last: tuple[Doing, float] | None = None

    def beat(self, doing: Doing) -> None:
        """Touch the file named for what the service does, at most once a second, and tell a supervisor.

        A disk that fails changes nothing.
        """
        now = time.monotonic()
        if self._last is None or self._last[0] != doing or now - self._last[1] >= _EVERY_SECONDS:
            self._last = doing, now
            notify("WATCHDOG=1")
            with suppress(OSError):
                self._folder.mkdir(mode=0o700, exist_ok=True)
                (self._folder / doing).touch(mode=0o600)

    def silence(self) -> Silence | None:
        """How long no beat was, in any process; `None` before the first. A clock set back counts as a beat."""
        now, beats = time.time(), dict[Doing, float]()
        for doing in get_args(Doing):
            with suppress(OSError):
                beats[doing] = (self._folder / doing).stat().st_mtime
        if not beats:
            return None
        last = max(beats, key=lambda doing: beats[doing])
        return Silence(last, max(0.0, now - beats[last]))

    def check(self, program: str) -> None:
        """Raise `ServiceStuck` where the service has been silent for too long, or has no pulse."""
        silence = self.silence()
        if silence is None or silence.is_too_long:
            for_how_long = "yet" if silence is None else f"for {silence.seconds:.0f} seconds"
            raise ServiceStuck(program=program, problem=f"has given no sign of life {for_how_long}")
