"""How benchmarks are timed: the contestants run in rounds, and the median of each counts."""

import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One line of the table: what was measured, its rate, and its ratio to the named floor or peer."""

    what: str
    rate: float
    unit: str
    against: str
    ratio: float
    promised: float | None = None  # the least ratio the project promises; None for a row that only reports

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.promised is None or self.ratio >= self.promised


def medians(contestants: Mapping[str, Callable[[], float | None]], *, rounds: int = 3) -> dict[str, float]:
    """Median seconds of each contestant; one that times itself (a peer in its own process) returns its seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            own_seconds = run()
            seconds[name].append(time.perf_counter() - start if own_seconds is None else own_seconds)
    return {name: statistics.median(times) for name, times in seconds.items()}


def wait_until(done: Callable[[], object], seconds: float, *, pause: float = 0.2) -> None:
    """Wait until it is so; raises `TimeoutError` after so long."""
    late = time.monotonic() + seconds
    while not done():
        if time.monotonic() > late:
            raise TimeoutError
        time.sleep(pause)


def memory(pid: int | str, field: str = "Rss") -> int:
    """Kilobytes of a process: `Rss`, or `Pss`, which counts a page that n processes share as an nth."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    match = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else 0


def family(pid: int) -> list[int]:
    """A process and all its living descendants (proc(5), children)."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(each for file in children for child in file.read_text("ascii").split() for each in family(int(child))),
    ]
