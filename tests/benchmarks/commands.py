"""What a user runs, as whole processes beside the peer's whole process: `deidentify FOLDER`, `receive` and `screen`.

All on memory-backed storage. Beside the peer without the pixel check and validation, which it has not; one worker and
two with all checks on, as a hospital runs it.
"""

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from shared.crypto.keys import make_secret
from tests.benchmarks.archives import workspace, write_ct, write_dx
from tests.benchmarks.deidentify import PEERS_PYTHON
from tests.benchmarks.measure import Row, medians

PROGRAM = (sys.executable, "-c", "from site_node.cli import main; main()")
PEER = "dicognito"
FEW, STUDIES, FILMS = 300, 5, 100  # slices of a study, studies of the larger archive, films
CHECKED = 20  # films with all checks on
FIRST_FILE = 0.8  # seconds of CPU until one file is done
ROUNDS = 3


def rows() -> list[Row]:
    """Slices, films, workers, the first file, and the node's first two stages."""
    with workspace() as folder:
        few, many, films, checked, alone = (folder / name for name in ("few", "many", "films", "checked", "alone"))
        for archive in (few, many, films, checked, alone):
            archive.mkdir()
        write_ct(few, FEW)
        for study in range(STUDIES):
            write_ct(many, FEW, study=f"study-{study}")
        write_dx(films, FILMS, apart=True)
        write_dx(checked, CHECKED, apart=True)
        shutil.copy(next(few.iterdir()), alone)
        make_secret(folder / "key")
        ours, fast = partial(deidentify, folder), ("--no-validate", "--no-pixel-check")
        contestants: dict[str, Callable[[], float | None]] = {
            "few": partial(ours, few, *fast),
            "many": partial(ours, many, *fast),
            "films": partial(ours, films, *fast),
            "slices, 1": partial(ours, many),
            "slices, 2": partial(ours, many, "--workers", "2"),
            "films, 1": partial(ours, checked),
            "films, 2": partial(ours, checked, "--workers", "2"),
            "receive and screen": partial(_receive_and_screen, folder, many),
        }
        if PEERS_PYTHON.exists():
            contestants |= {
                f"{PEER} {name}": partial(_peer, folder, folder / name) for name in ("few", "many", "films")
            }
        seconds = medians(contestants, rounds=ROUNDS)
        first = min(cpu_seconds(partial(ours, alone, *fast)) for _ in range(ROUNDS))
    return [
        *_rows(seconds),
        Row("deidentify FOLDER of one file, CPU", first, "s", f"{FIRST_FILE} s", FIRST_FILE / first, 1.0),
    ]


def _rows(seconds: dict[str, float]) -> list[Row]:
    many, further = FEW * STUDIES, FEW * (STUDIES - 1)
    table = [
        Row(
            f"deidentify FOLDER, {count:,} {what}, all checks, two workers",
            count / seconds[f"{what}, 2"],
            "files/s",
            "one worker",
            seconds[f"{what}, 1"] / seconds[f"{what}, 2"],
            1.7,
        )
        for what, count in (("slices", many), ("films", CHECKED))
    ]
    table.append(
        Row(f"receive and screen, {many:,} slices", many / seconds["receive and screen"], "files/s", "itself", 1.0)
    )
    if f"{PEER} few" in seconds:
        peer = {name: seconds[f"{PEER} {name}"] for name in ("few", "many", "films")}
        more, peer_more = seconds["many"] - seconds["few"], peer["many"] - peer["few"]
        for what, count, own, other, promised in (
            (f"{FEW} slices", FEW, seconds["few"], peer["few"], None),
            (f"{many:,} slices", many, seconds["many"], peer["many"], None),
            (f"{further:,} further slices", further, more, peer_more, 5.0),
            (f"{FILMS} films", FILMS, seconds["films"], peer["films"], 2.5),
        ):
            table.append(Row(f"deidentify FOLDER, {what}", count / own, "files/s", PEER, other / own, promised))
    return table


def deidentify(folder: Path, source: Path, *options: str) -> None:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = ("deidentify", str(source), str(out), "--site-id", "123456", "--key-file", str(folder / "key"))
    subprocess.run(
        [*PROGRAM, *command, *options], check=True, capture_output=True, env=os.environ | {"TMPDIR": str(folder)}
    )


def _receive_and_screen(folder: Path, source: Path) -> float:
    """Seconds of the two commands in a new home."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    environment = os.environ | {"RICORD_SITE_HOME": str(home)}
    subprocess.run([*PROGRAM, "init", "--name", "Bench"], check=True, capture_output=True, env=environment)
    start = time.perf_counter()
    subprocess.run([*PROGRAM, "receive", str(source)], check=True, capture_output=True, env=environment)
    subprocess.run([*PROGRAM, "screen"], check=False, capture_output=True, env=environment)  # 3: no clinical row
    return time.perf_counter() - start


def _peer(folder: Path, source: Path) -> None:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    script = Path(__file__).with_name("peer.py")
    subprocess.run([str(PEERS_PYTHON), str(script), PEER, str(source), str(out)], check=True, capture_output=True)


def cpu_seconds(run: Callable[[], object]) -> float:
    """Seconds of CPU that the processes of `run` took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
