"""What a node notes while it runs for whoever watches it: that it goes on, what its stages cost, whom it reached."""

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.monitoring.pulse import Pulse
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.study import Sealed, Submitted

STAGES = {
    State.RECEIVED: "screen",
    State.INCLUDED: "deidentify",
    State.DEIDENTIFIED: "validate",
    State.VALIDATED: "seal",
    State.SEALED: "submit",
}  # by the state in which a study enters it
BOUNDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, float("inf"))  # seconds, of the histogram


@dataclass
class StageSeconds:
    """How many studies a stage worked on, by the first of `BOUNDS` not exceeded, and for how long."""

    counts: list[int] = field(default_factory=lambda: [0] * len(BOUNDS))
    total: float = 0.0


class Watch:
    """One node's notes, kept from its start to its end. Any thread may write."""

    def __init__(self, home: SiteHome) -> None:
        self.pulse = Pulse(home.pulse)
        self._stages: defaultdict[str, StageSeconds] = defaultdict(StageSeconds)
        self.contact_at: float | None = None  # when the coordinator last answered, in seconds since 1970
        self._lock = threading.Lock()

    def waiting(self) -> None:
        """The node has nothing to do until its next pass."""
        self.pulse.beat("waiting")

    def working(self) -> None:
        """The node goes on with what it does."""
        self.pulse.beat("working")

    def halted(self, stop: threading.Event) -> Callable[[], bool]:
        """Whether `stop` is set, for those who ask between two steps of their work."""

        def is_halted() -> bool:
            self.working()
            return stop.is_set()

        return is_halted

    def entered(self, begun: State, seconds: float) -> None:
        """A study went through the stage that it entered in the state `begun`."""
        with self._lock:
            stage = self._stages[STAGES[begun]]
            stage.counts[bisect_left(BOUNDS, seconds)] += 1
            stage.total += seconds

    def noted(self) -> dict[str, StageSeconds]:
        """What stages took until now."""
        with self._lock:
            return {stage: StageSeconds([*seconds.counts], seconds.total) for stage, seconds in self._stages.items()}

    def submitting(self, submit: Callable[[Sealed], Submitted]) -> Callable[[Sealed], Submitted]:
        """`submit`, with the time of each study noted that the coordinator received."""

        def submit_noted(sealed: Sealed) -> Submitted:
            began = time.monotonic()
            submitted = submit(sealed)
            self.entered(State.SEALED, time.monotonic() - began)
            self.reached()
            return submitted

        return submit_noted

    def reached(self) -> None:
        """The coordinator answered."""
        self.contact_at = time.time()
