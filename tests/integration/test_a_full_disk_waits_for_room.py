"""On a full disk the service waits and says so; with free space again it goes on, without a restart."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.home.status import Status, status_of
from tests.factories.dicom import make_dx, write_file
from tests.peers import check_no_defect

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
FILL_MB = 2048  # to write; half of it is a margin for what other processes write meanwhile


@pytest.fixture
def home(tmp_path: Path) -> SiteHome:
    """A home whose `min_free_mb` is all that is free now less a margin; the pixel check is off."""
    free_mb = shutil.disk_usage(tmp_path).free >> 20
    if free_mb < 2 * FILL_MB:
        pytest.skip("the disk has too little room to be filled")
    home = init_home(tmp_path / "home", name="General")
    text = home.settings_file.read_text().replace("poll_seconds = 10.0", "poll_seconds = 0.1")
    text = text.replace("pixel_check = true", "pixel_check = false")
    home.settings_file.write_text(text.replace("min_free_mb = 1024", f"min_free_mb = {free_mb - FILL_MB // 2}"))
    return home


def counts(home: SiteHome) -> Status:
    ledger = Ledger(home.ledger)
    try:
        return status_of(ledger, name="x", site_id=None)
    finally:
        ledger.close()


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_on_a_full_disk_the_service_waits_and_nothing_is_lost(home: SiteHome, tmp_path: Path) -> None:
    """Files stay in the inbox until there is space; the log says why nothing moves."""
    filler, log_file = tmp_path / "full", tmp_path / "log"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, FILL_MB << 20)
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "--home", str(home.folder), "run", "--no-federation"], stdout=subprocess.DEVNULL, stderr=log
        )
    try:
        write_file(make_dx(), home.folder / "inbox" / "film.dcm")
        wait(lambda: "disk-nearly-full" in log_file.read_text())
        assert (counts(home).received, list(home.spool.iterdir())) == (0, [])
        filler.unlink()
        wait(lambda: counts(home).quarantined.total == 1)
    finally:
        process.terminate()
    assert process.wait(timeout=60) == 0
    assert counts(home).quarantined.reasons == {"clinical-row-missing": 1}
    check_no_defect(log_file.read_text())
    assert (home.folder / "inbox" / "film.dcm").exists()
