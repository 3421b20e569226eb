"""How things are timed here: the contestants take turns, and each one's median counts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: who, how much per second, and how that compares with the floor or peer named."""

    what: str
    rate: float
    unit: str
    against: str
    ratio: float
    wanted: float | None = None  # the ratio the project promises; None where it only reports

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.wanted is None or self.ratio >= self.wanted


def medians(contestants: Mapping[str, Callable[[], float | None]], *, turns: int = 3) -> dict[str, float]:
    """Median seconds of each; a contestant that times itself (a peer in its own process) returns its seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(turns):
        for name, run in contestants.items():
            start = time.perf_counter()
            own = run()
            seconds[name].append(time.perf_counter() - start if own is None else own)
    return {name: statistics.median(each) for name, each in seconds.items()}
