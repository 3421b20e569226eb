"""Sending sealed studies until the site holds a receipt, beside bare streams with the same TLS and sync.

Both servers are processes of their own and write to the same disk; so does the site, which keeps its receipts.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from site_node.home.folder import SiteHome
from site_node.membership.record import Membership
from site_node.study import Sealed
from site_node.submit.client import submitting
from site_node.submit.pace import CHUNK
from tests.benchmarks.bare_stream import put
from tests.benchmarks.measure import Row, medians
from tests.factories.federation import Federation, make_federation, sealed_bytes

_LARGE, _SMALL, _COUNT, _AT_ONCE, _ROUNDS = 96 << 20, 100_000, 100, 4, 5


def rows() -> list[Row]:
    """One large study alone, and small ones four at a time."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as name:
        folder = Path(name)
        federation = make_federation(folder)
        with served(federation):
            federation.curator()
            site, member = federation.site("Hospital")
            (folder / "bare").mkdir()
            bare = [sys.executable, "-m", "tests.benchmarks.bare_stream", str(federation.home.folder)]
            with _ready([*bare, str(folder / "bare")]) as port:
                large = _rates(site, member, f"127.0.0.1:{port}", size=_LARGE, count=1)
                small = _rates(site, member, f"127.0.0.1:{port}", size=_SMALL, count=_COUNT)
    floor = "bare grpcio stream"
    return [
        Row("upload of 96 MiB", large[0] * _LARGE / 1e6, "MB/s", floor, large[0] / large[1], 0.5),
        Row("studies of 100 kB, four at once", small[0], "studies/s", floor, small[0] / small[1]),
    ]


def _rates(site: SiteHome, member: Membership, bare: str, *, size: int, count: int) -> tuple[float, float]:
    """Studies a second, ours and bare; other ones in each run, since what was received once is not sent again."""

    def fresh() -> list[Sealed]:
        return [sealed_bytes(site, member, size) for _ in range(count)]

    runs = {"ours": lambda: _ours(site, member, fresh()), "bare": lambda: _bare(member, bare, fresh())}
    seconds = medians(runs, rounds=_ROUNDS)
    return count / seconds["ours"], count / seconds["bare"]


def _ours(site: SiteHome, member: Membership, studies: Sequence[Sealed]) -> float:
    with submitting(site, member) as submit, ThreadPoolExecutor(_AT_ONCE) as threads:
        start = time.perf_counter()
        list(threads.map(submit, studies))
        return time.perf_counter() - start


def _bare(member: Membership, address: str, studies: Sequence[Sealed]) -> float:
    with (
        grpc.secure_channel(address, member.credentials.to_grpc(), (("grpc.enable_http_proxy", 0),)) as channel,
        ThreadPoolExecutor(_AT_ONCE) as threads,
    ):
        start = time.perf_counter()
        list(threads.map(lambda study: put(channel, _parts(study.ciphertext)), studies))
        seconds = time.perf_counter() - start
    for study in studies:
        study.ciphertext.unlink()
    return seconds


def _parts(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        yield from iter(lambda: opened.read(CHUNK), b"")


@contextmanager
def served(federation: Federation) -> Iterator[None]:
    """A coordinator's process."""
    serve = [sys.executable, "-m", "coordinator.cli", "--home", str(federation.home.folder), "serve"]
    with _ready([*serve, "--no-federation"]):
        yield


@contextmanager
def _ready(command: Sequence[str]) -> Iterator[str]:
    """A process that has printed that it is ready."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
