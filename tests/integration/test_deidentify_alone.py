"""`ricord-site deidentify SOURCE OUT` in its own processes: killed, interrupted, a full disk, huge files, Ray."""

import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.crypto.keys import make_secret
from shared.errors.base import ExitCode
from shared.ids import SiteId
from site_node.standalone.alone import EngineChoice, run_standalone
from site_node.standalone.job import Job
from site_node.standalone.resume import KEY_CHECK
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.live_folders import paths_in
from tests.peers import check_no_defect

# A shell that starts tests in the background makes their children ignore SIGINT.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from site_node.cli import main
main()
"""
COMMAND = (sys.executable, "-c", PROGRAM)
# The same, and its peak memory above the imports, in kB, on standard error.
MEASURED = """
import atexit, re, sys
from pathlib import Path
import site_node.commands.deidentify
from site_node.cli import main

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

imports = kilobytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
atexit.register(lambda: print("peak", kilobytes("VmHWM") - imports, file=sys.stderr))
main()
"""


def make_source(folder: Path) -> Path:
    """An empty folder beside a key."""
    make_secret(folder / "key")
    (source := folder / "source").mkdir()
    return source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_source(tmp_path)


def arguments(source: Path, out: Path, *more: str) -> list[str]:
    key, report = source.parent / "key", source.parent / f"{out.name}.jsonl"
    return [
        *("deidentify", str(source), str(out), "--site-id", "123456", "--key-file", str(key)),
        *("--report", str(report), "--no-pixel-check", *more),
    ]


def run(command: tuple[str, ...], *more: str) -> tuple[int, str]:
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=120, check=False)
    check_no_defect(done.stderr)
    return done.returncode, done.stderr


def in_one_go(source: Path, out: Path) -> None:
    """De-identify in this process: every other way must give the same."""
    key, report = source.parent / "key", source.parent / f"{out.name}.jsonl"
    job = Job(site_id=SiteId("123456"), key_file=key, profile="ricord", out=out, pixel_check=False)
    run_standalone(source, job, EngineChoice(), report)


def reported(source: Path, out: Path) -> dict[str, dict[str, Any]]:
    lines = (source.parent / f"{out.name}.jsonl").read_text().splitlines()
    return {line["source"]: line for line in map(json.loads, lines)}


def outputs(out: Path) -> dict[str, bytes]:
    files = [path for path in out.rglob("*") if path.is_file() and path.name != KEY_CHECK]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def fill(source: Path, studies: int, slices: int = 4) -> None:
    for study in range(studies):
        for number, dataset in enumerate(make_ct(slices=slices, rows=64, study=f"ct{study}", PatientID=f"P{study}")):
            write_file(dataset, source / f"ct{study}-{number}.dcm")


def wait_for_output(out: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while process.poll() is None and not paths_in(out, "*/*/*/*.dcm") and time.monotonic() < until:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of so many studies that a busy machine too gets to a signal before the end, and what one run gives."""
    folder = tmp_path_factory.mktemp("many")
    source, whole = make_source(folder), folder / "whole"
    fill(source, studies=60)
    in_one_go(source, whole)
    return source, whole


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_goes_on_and_ends_the_same(many: tuple[Path, Path], how: signal.Signals) -> None:
    """No process of two workers is left, and a second run ends with what one whole run gives, byte for byte."""
    source, whole = many
    out = whole.with_name(how.name)
    with subprocess.Popen(
        [*COMMAND, *arguments(source, out, "--workers", "2")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        wait_for_output(out, process)
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    assert b"Traceback" not in errors
    assert process.returncode != 0
    for _ in range(200):
        if not in_session(process.pid):
            break
        time.sleep(0.05)
    assert in_session(process.pid) == []
    written = len(list(out.glob("*/*/*/*.dcm")))
    assert 0 < written < 240
    assert run(COMMAND, *arguments(source, out, "--workers", "2"))[0] == ExitCode.DONE
    assert outputs(out) == outputs(whole)
    assert reported(source, out) == reported(source, whole)


def in_session(leader: int) -> list[int]:
    """Processes that are still alive in a session."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            alive.append(int(stat.parent.name))
    return alive


def test_a_killed_worker_is_replaced(source: Path, tmp_path: Path) -> None:
    """Its study is tried again; nothing is lost."""
    fill(source, studies=12)
    out = tmp_path / "out"
    with subprocess.Popen([*COMMAND, *arguments(source, out, "--workers", "2")], start_new_session=True) as process:
        wait_for_output(out, process)
        workers = [pid for pid in in_session(process.pid) if pid != process.pid and is_worker(pid)]
        os.kill(workers[0], signal.SIGKILL)
        process.wait(timeout=60)
    assert process.returncode == ExitCode.DONE
    assert {line["outcome"] for line in reported(source, out).values()} == {"deidentified"}


def is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_refuses_what_does_not_fit(source: Path, small_disk: Path) -> None:
    """A study that does not fit is refused for that reason and leaves nothing; one that fits is written."""
    write_file(make_dx(study="big", PatientID="BIG", rows=1500), source / "big.dcm")
    write_file(make_dx(study="small", PatientID="SMALL"), source / "small.dcm")
    out = small_disk / "out"
    assert run(COMMAND, *arguments(source, out))[0] == ExitCode.PARTIAL
    lines = reported(source, out)
    assert [reason["code"] for reason in lines["big.dcm"]["reasons"]] == ["disk-full"]
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.dcm")] == [lines["small.dcm"]["output"]]


def write_huge(file: Path, mebibytes: int) -> None:
    """Write a film whose native pixels are a hole of that size in the file."""
    rows = 50_000
    film = make_dx(study="huge", PatientID="HUGE")
    film.Rows, film.Columns = rows, mebibytes * 1024 * 1024 // rows // 2
    film.PixelData = b"\0\0"
    write_file(film, file)
    size = rows * film.Columns * 2
    with file.open("r+b") as target:
        content = file.read_bytes()
        position = content.rindex(b"\xe0\x7f\x10\x00OW")
        target.seek(position + 8)
        target.write(struct.pack("<I", size))
        target.truncate(position + 12 + size)


@pytest.mark.parametrize(
    "mebibytes", [400, pytest.param(4000, marks=pytest.mark.soak)], ids=["400 MB", "4 GB, the most that is native"]
)
def test_memory_is_flat_in_the_size_of_a_file(source: Path, tmp_path: Path, mebibytes: int) -> None:
    """Reading, rewriting and hashing take no more than 64 MB above the imports."""
    write_huge(source / "huge.dcm", mebibytes)
    code, errors = run((sys.executable, "-c", MEASURED), *arguments(source, tmp_path / "out", "--no-validate"))
    assert code == ExitCode.DONE, reported(source, tmp_path / "out")
    assert int(errors.split("peak ")[1]) < 64 * 1024
    for file in (tmp_path / "out").rglob("*.dcm"):
        file.unlink()


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the simulation extra (ray) is not installed")
def test_a_local_ray_cluster_makes_the_same_files(source: Path, tmp_path: Path) -> None:
    """Two workers of a cluster that is started for the run write and report what one process does."""
    fill(source, studies=3)
    (source / "letter.dcm").write_text("dear colleague")
    out, whole = tmp_path / "out", tmp_path / "whole"
    in_one_go(source, whole)
    code, errors = run(COMMAND, *arguments(source, out, "--engine", "ray", "--workers", "2"))
    assert code == ExitCode.PARTIAL, errors
    assert reported(source, out) == reported(source, whole)
    assert outputs(out) == outputs(whole)
