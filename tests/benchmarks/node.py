"""The node: folders taken to sealed studies with all checks on.

The CPU of a stage is that of its verb, so it holds the start of the program. How fast a folder goes is measured
over `receive` and then `seal`, which takes each study through all stages in one pass as a running node does. A home is
on a disk and every record is synced to it.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.benchmarks.archives import write_ct, write_dx
from tests.benchmarks.commands import PROGRAM, cpu_seconds
from tests.benchmarks.measure import Row, medians
from tests.factories.dicom import SECRETS
from tests.factories.federation import running_federation

COORDINATOR = (sys.executable, "-c", "from coordinator.cli import main; main()")
FILMS, STUDIES, SLICES = 40, 3, 300  # slices of each CT study
FEW_FILMS, FEW_SLICES = 3, 40  # done within seconds
ROUNDS = 2
PROMISED = {"large": 1.4, "small": 0.9}  # two workers beside one; the small one is left to one process
STAGES = ("receive", "screen", "deidentify", "validate", "seal")
SHEET = "mrn,covid_status,covid_method,covid_timing,age,sex\n{},positive,rt-pcr,,,\n"


def rows() -> list[Row]:
    """Every stage's CPU, and the rate of a large and a small folder."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as name:
        folder = Path(name)
        large, small = folder / "large", folder / "small"
        for source, films, studies, slices in ((large, FILMS, STUDIES, SLICES), (small, FEW_FILMS, 1, FEW_SLICES)):
            source.mkdir()
            write_dx(source, films, apart=True)
            for study in range(studies):
                write_ct(source, slices, study=f"study-{study}")
        with running_federation(folder) as federation:
            federation.curator()
            site = federation.site("Hospital")[0].folder
        table = list[Row]()
        (folder / "clinical.csv").write_text(SHEET.format(SECRETS.patient_id), encoding="utf-8")
        call(site, "clinical", "import", str(folder / "clinical.csv"), "--as", "bench")
        for workers in (1, 2):
            spent = _cpu_by_stage(site, large, workers)
            table += [
                Row(f"{stage}, {workers} workers, CPU", seconds, "s", "all stages", seconds / sum(spent.values()))
                for stage, seconds in spent.items()
            ]
        return [*table, *_rates(site, {"large": large, "small": small})]


def _cpu_by_stage(site: Path, source: Path, workers: int) -> dict[str, float]:
    """Seconds of CPU of each stage over the files of a folder."""
    words = {stage: (stage, *([str(source)] if stage == "receive" else [])) for stage in STAGES}
    with new_home(site, workers) as home:
        return {stage: cpu_seconds(partial(call, home, *words[stage])) for stage in STAGES}


def _rates(site: Path, sources: dict[str, Path]) -> list[Row]:
    seconds = medians(
        {
            f"{size} {workers}": partial(_folder_to_sealed, site, source, workers)
            for size, source in sources.items()
            for workers in (1, 2)
        },
        rounds=ROUNDS,
    )
    return [
        Row(
            f"{size} folder to sealed, {workers} workers",
            len(list(source.iterdir())) / seconds[f"{size} {workers}"],
            "files/s",
            "one worker",
            seconds[f"{size} 1"] / seconds[f"{size} {workers}"],
            PROMISED[size] if workers > 1 else None,
        )
        for size, source in sources.items()
        for workers in (1, 2)
    ]


def _folder_to_sealed(site: Path, source: Path, workers: int) -> float:
    """Seconds from a folder to sealed studies in a new home."""
    with new_home(site, workers) as home:
        start = time.perf_counter()
        call(home, "receive", str(source))
        call(home, "seal")
        return time.perf_counter() - start


@contextmanager
def new_home(site: Path, workers: int) -> Iterator[Path]:
    """A copy of an enrolled site's home."""
    with tempfile.TemporaryDirectory(prefix="home-", dir=site.parent) as name:
        home = Path(shutil.copytree(site, name, dirs_exist_ok=True))
        settings = home / "site.toml"
        text = settings.read_text(encoding="utf-8")
        settings.write_text(text.replace("\nworkers = 0", f"\nworkers = {workers}"), encoding="utf-8")
        yield home


def call(home: Path, *words: str) -> None:
    """Run a verb."""
    subprocess.run([*PROGRAM, "--home", str(home), *words], check=True, capture_output=True)


@contextmanager
def running(program: Sequence[str], home: Path, verb: str) -> Iterator[int]:
    """The id of a program that says when it is ready and ends with the block."""
    process = subprocess.Popen([*program, "--home", str(home), verb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.terminate()
        process.wait()
