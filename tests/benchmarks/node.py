"""The node: what it costs idle, and a folder taken to sealed studies with all checks on, stage after stage.

An idle node is enrolled and takes part in federated work; its processes are counted together, its SuperNode among
them. Each stage is a whole process, so its seconds of CPU hold the start of the program. A home is on a disk and every
record is synced to it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome
from tests.benchmarks.archives import write_ct, write_dx
from tests.benchmarks.commands import PROGRAM, cpu_seconds
from tests.benchmarks.measure import Row
from tests.factories.dicom import SECRETS
from tests.factories.federation import running_federation

COORDINATOR = (sys.executable, "-c", "from coordinator.cli import main; main()")
FILMS, SLICES = 10, 300
SHARE = 0.005  # of a core
SETTLING, WATCHED = 75.0, 60.0  # seconds: soon after its start a SuperNode asks more often
STAGES = ("receive", "screen", "deidentify", "validate", "seal")
SHEET = "mrn,covid_status,covid_method,covid_timing,age,sex\n{},positive,rt-pcr,,,\n"
_TICK = os.sysconf("SC_CLK_TCK")


def rows() -> list[Row]:
    """An idle node's share of a core, and every stage's CPU with one worker and with two."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as folder:
        source = Path(folder) / "source"
        source.mkdir()
        write_ct(source, SLICES)
        write_dx(source, FILMS, apart=True)
        (Path(folder) / "clinical.csv").write_text(SHEET.format(SECRETS.patient_id), encoding="utf-8")
        with running_federation(Path(folder)) as federation:
            federation.curator()
            idle, alone, paired = (federation.site(name)[0] for name in ("Idle", "One worker", "Two workers"))
        write_default_policy(idle.folder / POLICY_FILE)
        with _running(COORDINATOR, federation.home.folder, "serve"), _running(PROGRAM, idle.folder, "run") as node:
            time.sleep(SETTLING)
            share = _share(node, WATCHED)
        table = [
            Row("idle node and its SuperNode, CPU", 100 * share, "%", f"{SHARE:.1%} of a core", SHARE / share, 1.0)
        ]
        seconds: dict[int, float] = {}
        for workers, home in ((1, alone), (2, paired)):
            start = time.perf_counter()
            spent = _folder_to_sealed(source, home, workers)
            seconds[workers] = time.perf_counter() - start
            table += [
                Row(
                    f"{stage}, {workers} workers, CPU",
                    spent[stage],
                    "s",
                    "all stages",
                    spent[stage] / sum(spent.values()),
                )
                for stage in STAGES
            ]
            rate, ratio = (FILMS + SLICES) / seconds[workers], seconds[1] / seconds[workers]
            table.append(Row(f"folder to sealed, {workers} workers", rate, "files/s", "one worker", ratio))
    return table


def _folder_to_sealed(source: Path, home: SiteHome, workers: int) -> dict[str, float]:
    """Seconds of CPU of each stage over the files of a folder."""
    text = home.settings_file.read_text(encoding="utf-8")
    home.settings_file.write_text(text.replace("\nworkers = 0", f"\nworkers = {workers}"), encoding="utf-8")
    _call(home.folder, "clinical", "import", str(source.parent / "clinical.csv"), "--as", "bench")
    words = {stage: (stage, *([str(source)] if stage == "receive" else [])) for stage in STAGES}
    return {stage: cpu_seconds(lambda stage=stage: _call(home.folder, *words[stage])) for stage in STAGES}  # type: ignore[misc]


def _call(home: Path, *words: str) -> None:
    subprocess.run([*PROGRAM, "--home", str(home), *words], check=True, capture_output=True)


@contextmanager
def _running(program: Sequence[str], home: Path, verb: str) -> Iterator[int]:
    """The id of a program that says when it is ready and ends with the block."""
    process = subprocess.Popen([*program, "--home", str(home), verb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _share(parent: int, seconds: float) -> float:
    """The share of a core that a process and its children take together."""
    before = _ticks(parent)
    time.sleep(seconds)
    return max(_ticks(parent) - before, 1) / _TICK / seconds


def _ticks(parent: int) -> int:
    """Ticks of CPU of a process and of its living children (proc(5), stat)."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    pids = {parent, *(int(pid) for file in children for pid in file.read_text(encoding="ascii").split())}
    fields = [Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in pids]
    return sum(int(entry[11]) + int(entry[12]) for entry in fields)
