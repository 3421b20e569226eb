"""De-identification compared with `cp` and with other tools: files a second, one process, memory-backed storage.

Also its peak memory, the same with every instance validated, and two workers compared with one.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.archives import workspace, write_ct, write_dx, write_film
from tests.benchmarks.measure import Row, medians

PEERS_PYTHON = Path(".venv-bench/bin/python")
PEERS = ("dicognito", "dicom-anonymizer", "deid")
PROMISES = {  # archive: times cp, times dicognito, and times dicognito with validation of every instance
    "CT 512x512x16": (0.5, 20.0, 5.0),
    "DX 2500x2048x16": (0.8, 3.5, None),
}
ROUNDS = 5
MEMORY = 64.0  # MB above the imports
FRAMES = 40  # of 10 MB in one file


def rows() -> list[Row]:
    """Both archives, then memory."""
    return [
        *_rows("CT 512x512x16", write_ct, 400),
        *_rows("DX 2500x2048x16", write_dx, 100),
        *_memory(),
    ]


def _rows(name: str, write: Callable[[Path, int], Path], count: int) -> list[Row]:
    with workspace() as folder:
        source = folder / "source"
        source.mkdir()
        write(source, count)
        # Each runs in its own process, ours like the others; timing starts once everything is imported.
        contestants: dict[str, Callable[[], float | None]] = {
            "cp": lambda: _copy(source, folder / "out"),
            "this": lambda: _alone(source, folder / "out", 1)[0],
            "validated": lambda: _alone(source, folder / "out", 1, validated=True)[0],
            "two workers": lambda: _alone(source, folder / "out", 2)[0],
        }
        if PEERS_PYTHON.exists():
            contestants |= {peer: _peer(peer, source, folder / "out") for peer in PEERS}
        seconds = medians(contestants, rounds=ROUNDS)
    cp_promise, dicognito_promise, validated_promise = PROMISES[name]
    label = f"de-identify {name}"
    pairs: list[tuple[str, str, str, float | None]] = [(label, "this", "cp", cp_promise)]
    pairs += [(label, "this", peer, dicognito_promise if peer == PEERS[0] else None) for peer in PEERS]
    pairs += [(f"de-identify and validate {name}", "validated", PEERS[0], validated_promise)]
    pairs += [(f"{label}, two workers", "two workers", "this", None)]
    return [
        Row(what, count / seconds[ours], "files/s", peer, seconds[peer] / seconds[ours], promised)
        for what, ours, peer, promised in pairs
        if peer in seconds
    ]


def _memory() -> list[Row]:
    """Peak memory above the imports, for many files and for a far larger one."""
    table: list[Row] = []
    archives: dict[str, Callable[[Path], Path]] = {
        "400 CT": lambda folder: write_ct(folder, 400),
        "20 DX of 10 MB": lambda folder: write_dx(folder, 20),
        f"one film of {FRAMES}0 MB": lambda folder: write_film(folder, FRAMES),
    }
    for name, write in archives.items():
        with workspace() as folder:
            source = folder / "source"
            source.mkdir()
            write(source)
            for words, validated in (("", False), (" and validate", True)):
                _, peak = _alone(source, folder / "out", 1, validated=validated)
                what = f"peak memory, de-identify{words} {name}"
                table.append(Row(what, peak, "MB", f"{MEMORY:g} MB", MEMORY / peak, None if validated else 1.0))
    return table


def _fresh(out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    return out


def _copy(source: Path, out: Path) -> float:
    _fresh(out)
    start = time.perf_counter()
    subprocess.run(["cp", "-r", str(source), str(out)], check=True)
    return time.perf_counter() - start


def _alone(source: Path, out: Path, count: int, *, validated: bool = False) -> tuple[float, float]:
    """Seconds until the last of `count` processes that share the work is done, and the highest peak in MB."""
    _fresh(out).mkdir()
    command = [sys.executable, "-m", "tests.benchmarks.alone", str(source)]
    workers = [
        subprocess.Popen(
            [*command, str(out / str(part)), str(part), str(count), *(["validate"] if validated else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for part in range(count)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    start = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    lines = [worker.communicate()[0].split() for worker in workers]
    seconds = time.perf_counter() - start
    if not all(len(line) == 2 for line in lines):
        sys.exit("a worker of the benchmark failed")
    longest = max(float(line[0]) for line in lines)
    return min(seconds, longest), max(int(line[1]) for line in lines) / 1024


def _peer(tool: str, source: Path, out: Path) -> Callable[[], float]:
    script = Path(__file__).with_name("peer.py")

    def run() -> float:
        _fresh(out).mkdir()
        done = subprocess.run(
            [str(PEERS_PYTHON), str(script), tool, str(source), str(out)], check=True, capture_output=True, text=True
        )
        return float(done.stdout.split()[-1])

    return run
