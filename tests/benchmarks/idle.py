"""A node that waits for federated work, its worker among its processes: CPU, memory, and what it asks the coordinator.

Requests are counted where they arrive: calls of the two gRPC ports, and connections to the fleet port, on which the
benchmark itself listens.
"""

import os
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from coordinator.trust.interceptor import AccessInterceptor
from site_node.federate.policy import POLICY_FILE, write_default_policy
from tests.benchmarks.commands import PROGRAM
from tests.benchmarks.measure import Row, family, memory, wait_until
from tests.benchmarks.node import running
from tests.factories.federation import running_federation

SHARE = 0.005  # of a core
SETTLING, WATCHED = 75.0, 120.0  # seconds: soon after its start a node asks more often
LOADING_SECONDS = 60
_TICK = os.sysconf("SC_CLK_TCK")


def rows() -> list[Row]:
    """Its share of a core, its memory, and its requests a minute."""
    with (
        tempfile.TemporaryDirectory(prefix="ricord-bench-") as name,
        counted_calls() as calls,
        running_federation(Path(name)) as federation,
        socket.create_server(("127.0.0.1", federation.settings.fleet_port), backlog=128) as fleet,
    ):
        federation.curator()
        site = federation.site("Hospital")[0].folder
        write_default_policy(site / POLICY_FILE)
        fleet.setblocking(False)
        with running(PROGRAM, site, "run") as node:
            wait_until(lambda: len(family(node)) > 1, LOADING_SECONDS)  # its worker
            time.sleep(SETTLING)
            before, asked = ticks(node), calls.total() + connections(fleet)
            time.sleep(WATCHED)
            share = max(ticks(node) - before, 1) / _TICK / WATCHED
            requests = 60 * (calls.total() + connections(fleet) - asked) / WATCHED
            held = {field: sum(memory(pid, field) for pid in family(node)) / 1024 for field in ("Rss", "Pss")}
    return [
        Row("idle node in federated work, CPU", 100 * share, "%", f"{SHARE:.1%} of a core", SHARE / share, 1.0),
        Row("idle node with its worker, memory (PSS)", held["Pss"], "MB", f"RSS: {held['Rss']:.0f} MB", 1.0),
        Row("idle node, requests to the coordinator", requests, "a minute", "itself", 1.0),
    ]


@contextmanager
def counted_calls() -> Iterator[Counter[str]]:
    """Calls by method that reach a coordinator in this process while the block runs."""
    calls, intercept = Counter[str](), AccessInterceptor.intercept_service

    def counting(interceptor: AccessInterceptor, continuation: Callable[[Any], Any], details: Any) -> Any:
        calls[details.method] += 1
        return intercept(interceptor, continuation, details)

    with patch.object(AccessInterceptor, "intercept_service", counting):
        yield calls


def connections(listener: socket.socket) -> int:
    """How many wait to be accepted; they are closed."""
    count = 0
    try:
        while True:
            listener.accept()[0].close()
            count += 1
    except BlockingIOError:
        return count


def ticks(node: int) -> int:
    """Ticks of CPU of a process and its descendants (proc(5), stat)."""
    stats = [Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in family(node)]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats)
