"""De-identification beside `cp` and beside other tools, files a second, one process, memory-backed storage."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shared.ids import SiteId
from shared.protocol.loader import load_profile
from site_node.deidentify.study import deidentify
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import Included
from tests.benchmarks.archives import workspace, write_ct, write_dx
from tests.benchmarks.measure import Row, medians
from tests.factories.studies import make_included, make_instance, make_received

PEERS_PYTHON = Path(".venv-bench/bin/python")
PEERS = ("dicognito", "dicom-anonymizer", "deid")
PROMISES = {  # archive: (of cp, of dicognito)
    "CT 512x512x16": (0.5, 20.0),
    "DX 2500x2048x16": (0.8, 3.5),
}


def rows() -> list[Row]:
    """Both archives."""
    return [*_rows("CT 512x512x16", write_ct, 400), *_rows("DX 2500x2048x16", write_dx, 100)]


def _rows(name: str, write: Callable[[Path, int], Path], count: int) -> list[Row]:
    with workspace() as folder:
        source = folder / "source"
        source.mkdir()
        write(source, count)
        contestants: dict[str, Callable[[], float | None]] = {
            "cp": lambda: _copy(source, folder / "out"),
            "this": _ours(source, folder / "out"),
        }
        if PEERS_PYTHON.exists():
            contestants |= {peer: _peer(peer, source, folder / "out") for peer in PEERS}
        seconds = medians(contestants)
    of_cp, of_dicognito = PROMISES[name]
    rate = count / seconds["this"]
    table = [Row(f"de-identify {name}", rate, "files/s", "cp", seconds["cp"] / seconds["this"], of_cp)]
    for peer in PEERS:
        if peer in seconds:
            promise = of_dicognito if peer == "dicognito" else None
            table.append(
                Row(f"de-identify {name}", rate, "files/s", peer, seconds[peer] / seconds["this"], promise),
            )
    return table


def _fresh(out: Path) -> Path:
    shutil.rmtree(out, ignore_errors=True)
    return out


def _copy(source: Path, out: Path) -> None:
    _fresh(out)
    subprocess.run(["cp", "-r", str(source), str(out)], check=True)  # noqa: S607 - the cp of this machine is the floor


def _ours(source: Path, out: Path) -> Callable[[], None]:
    """Our stage over the archive as one received study; receiving is not timed."""
    profile = load_profile("ricord")
    pseudonyms = Pseudonyms(bytes(range(32)), SiteId("123456"))
    study = _included(source)

    def run() -> None:
        done = deidentify(study, profile=profile, pseudonyms=pseudonyms, out=_fresh(out))
        if not hasattr(done, "instances"):
            sys.exit(f"the benchmark's study was refused: {done}")

    return run


def _included(source: Path) -> Included:
    import pydicom  # noqa: PLC0415 - only this reads with it

    files = sorted(source.iterdir())
    first = make_received(source.parent / "first", [pydicom.dcmread(files[0])])
    return make_included(first.model_copy(update={"instances": tuple(make_instance(file) for file in files)}))


def _peer(tool: str, source: Path, out: Path) -> Callable[[], float]:
    script = Path(__file__).with_name("peer.py")

    def run() -> float:
        _fresh(out).mkdir()
        done = subprocess.run(
            [str(PEERS_PYTHON), str(script), tool, str(source), str(out)], check=True, capture_output=True, text=True
        )
        return float(done.stdout.split()[-1])

    return run
