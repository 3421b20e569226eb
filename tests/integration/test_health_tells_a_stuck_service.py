"""`health` of either program, as a container asks it: 0 while it goes on, 1 where it is stuck, 5 without one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from site_node.home.folder import SiteHome
from tests.factories.federation import make_federation
from tests.factories.pipeline import make_home
from tests.factories.programs import coordinator, node

OLD = 3600.0  # seconds


def health(program: str, home: Path, *words: str) -> int:
    command = [sys.executable, "-m", f"{program}.cli", "--home", str(home), "health", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode


def until_well(program: str, home: Path) -> None:
    until = time.monotonic() + 60
    while health(program, home):
        assert time.monotonic() < until


def test_a_node_that_is_stopped_or_killed_is_not_well(tmp_path: Path) -> None:
    """It stands still for an hour, goes on, and is killed: what it touched last is no sign of life then."""
    home: SiteHome = make_home(tmp_path / "home")
    assert health("site_node", home.folder) == 5
    with node(home, tmp_path / "log") as process:
        until_well("site_node", home.folder)
        process.send_signal(signal.SIGSTOP)
        for file in home.pulse.iterdir():
            os.utime(file, (time.time() - OLD, time.time() - OLD))
        assert health("site_node", home.folder, "--json") == 1
        process.send_signal(signal.SIGCONT)
        until_well("site_node", home.folder)
        process.kill()
        process.wait(60)
        assert health("site_node", home.folder) == 5


def test_a_coordinator_that_does_not_answer_is_not_well(tmp_path: Path) -> None:
    """Stopped, its port says nothing; the engine beside it was never started."""
    federation = make_federation(tmp_path)
    home = federation.home.folder
    with coordinator(home, tmp_path / "log") as process:
        assert health("coordinator", home, "--json") == 0
        assert health("coordinator", home, "--federation-only") == 5
        process.send_signal(signal.SIGSTOP)
        assert health("coordinator", home) == 5
        process.send_signal(signal.SIGCONT)
