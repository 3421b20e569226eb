"""Which stage takes how much of the time from a folder to the coordinator's receipt, one worker, on a disk.

Each stage is its verb in a process of its own, whose start, about half a second, counts.
"""

import tempfile
import time
from pathlib import Path

from tests.benchmarks.archives import write_ct
from tests.benchmarks.measure import Row
from tests.benchmarks.node import SHEET, STAGES, call, new_home
from tests.benchmarks.submission import served
from tests.factories.dicom import SECRETS
from tests.factories.federation import make_federation

_SLICES = 300


def rows() -> list[Row]:
    """Seconds of each stage and its share of all."""
    with tempfile.TemporaryDirectory(prefix="ricord-bench-") as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        write_ct(source, _SLICES)
        (folder / "clinical.csv").write_text(SHEET.format(SECRETS.patient_id), encoding="utf-8")
        federation = make_federation(folder)
        with served(federation):
            federation.curator()
            site = federation.site("Hospital")[0].folder
            call(site, "clinical", "import", str(folder / "clinical.csv"), "--as", "bench")
            with new_home(site, workers=1) as home:
                seconds = {stage: _seconds(home, stage, source) for stage in (*STAGES, "submit")}
                assert list((home / "receipts").iterdir())
    whole = sum(seconds.values())
    table = [
        Row(f"{stage} of {_SLICES} CT slices", each, "s", "folder to receipt", each / whole)
        for stage, each in seconds.items()
    ]
    return [*table, Row(f"folder to receipt, {_SLICES} CT slices", _SLICES / whole, "slices/s", "itself", 1.0)]


def _seconds(home: Path, stage: str, source: Path) -> float:
    start = time.perf_counter()
    call(home, stage, *([str(source)] if stage == "receive" else []))
    return time.perf_counter() - start
