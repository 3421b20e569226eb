"""Two hundred sites in this process, and the centre of their secure sum in another one, whose memory is measured.

`python -m tests.benchmarks.many_sites SOCKET` is that process: it gets a plan and a key, asks sites and hears answers
over a socket that it was given, and says how it went. Nothing crosses a network.
"""

import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from coordinator.home.init import open_home_store
from shared.crypto.signing import SigningKey
from shared.federation.secure_sum.server import sum_without_liars
from shared.ids import SiteId
from shared.protocol.loader import load_protocol
from tests.benchmarks.alone import forget_peak, memory
from tests.benchmarks.centre import NODES, seconds_to_ask_who_takes_part
from tests.benchmarks.measure import Row
from tests.factories.federation import make_federation
from tests.factories.summing import Federation

SITES = 200
STAGE_SECONDS = 120  # of the centre between two stages


class Ended(NamedTuple):
    """How a sum ended: the centre's own seconds, its peak of memory above its imports in kilobytes, the first word."""

    seconds: float
    kilobytes: int
    first: int


def rows() -> list[Row]:
    """The check at every message, and a sum of as many words as a cohort has cells."""
    with TemporaryDirectory() as folder:
        federation = make_federation(Path(folder))
        store = open_home_store(federation.home, federation.settings)
        check = seconds_to_ask_who_takes_part(store)
        store.close()
    cells = len(load_protocol("ricord").cohort.cells)
    whole, ended = play(cells)
    what = f"a secure sum of {SITES} sites, {cells} words"
    return [
        Row(f"who takes part, of {NODES} sites, after a change", 1e6 * check, "us a site", "itself", 1.0),
        Row(f"{what}, all in turn", whole, "s", f"the centre alone: {ended.seconds:.1f} s", 1.0),
        Row(f"{what}: the centre's memory", ended.kilobytes / 1024, "MB", "itself", 1.0),
    ]


def play(words: int) -> tuple[float, Ended]:
    """Seconds of a sum, sites and centre in turn, and what the centre said."""
    vectors = {SiteId(str(300000 + n)): np.full(words, n, dtype=np.uint64) for n in range(SITES)}
    sites = Federation(vectors)
    plan = sites.plan().plan
    line, theirs = Pipe()
    command = [sys.executable, "-m", "tests.benchmarks.many_sites", str(theirs.fileno())]
    start = time.perf_counter()
    with line, subprocess.Popen(command, pass_fds=[theirs.fileno()]):
        theirs.close()
        line.send((plan, sites.coordinator.to_pem()))
        while not isinstance(said := line.recv() if line.poll(STAGE_SECONDS) else None, Ended):
            if said is None:
                raise TimeoutError
            line.send(sites(*said))
    assert said.first == sum(range(SITES))
    return time.perf_counter() - start, said


def centre(line: "Connection[Any, Any]") -> None:
    """The other process."""
    plan, pem = line.recv()
    imports, waited = memory("VmRSS"), 0.0
    forget_peak()

    def ask(stage: str, requests: Mapping[SiteId, bytes]) -> Mapping[SiteId, bytes]:
        nonlocal waited
        start = time.perf_counter()
        line.send((stage, dict(requests)))
        answers: Mapping[SiteId, bytes] = line.recv()
        waited += time.perf_counter() - start
        return answers

    start = time.perf_counter()
    total = sum_without_liars(plan, SigningKey.from_pem(pem), ask, refuse=lambda *_: None, choose=tuple).total
    seconds = time.perf_counter() - start - waited
    line.send(Ended(seconds, memory("VmHWM") - imports, int(total[0])))


if __name__ == "__main__":
    from tests.benchmarks import many_sites  # not as `__main__`, which the other process would not know

    many_sites.centre(Connection(int(sys.argv[1])))
