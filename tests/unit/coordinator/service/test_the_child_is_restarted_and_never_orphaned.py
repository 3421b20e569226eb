"""A child that exits is restarted, and one whose parent has exited ends."""

import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from coordinator.service.supervisor import _note_end, keep_running
from coordinator.store.sql import open_store

WATCHING = """
import threading
from coordinator.service.supervisor import stop_with_parent
stop = threading.Event()
stop_with_parent(stop)
print("watching", flush=True)
stop.wait(30)
print("stopped" if stop.is_set() else "still here")
"""


def test_a_child_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    """As often as it exits, and never after the stop; each of its ends is an audit event."""
    log, stop = tmp_path / "starts", threading.Event()
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    command = (sys.executable, "-c", f"open({str(log)!r}, 'a').write('x'); raise SystemExit(3)")
    keeper = threading.Thread(
        target=keep_running, args=(command, stop, partial(_note_end, store)), kwargs={"pauses": (0.01,)}
    )
    keeper.start()
    deadline = time.monotonic() + 20
    while (not log.exists() or len(log.read_text()) < 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    keeper.join(20)
    assert not keeper.is_alive()
    starts = len(log.read_text())
    assert starts >= 3
    time.sleep(0.1)
    assert len(log.read_text()) == starts
    with store.read() as reading:
        noted = {(event.object, event.action, event.result) for event in reading.events()}
    assert noted == {("federation", "ended by itself", "exit code 3")}
    store.close()


def test_a_child_that_runs_is_ended_with_the_stop() -> None:
    """Within its grace."""
    stop, ends = threading.Event(), list[int]()
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    keeper = threading.Thread(target=keep_running, args=(command, stop, ends.append))
    keeper.start()
    stop.set()
    keeper.join(10)
    assert not keeper.is_alive()
    assert not ends


@pytest.mark.slow
def test_a_child_ends_when_its_parent_is_gone() -> None:
    """Its standard input ends with the parent, even one that was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCHING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "watching\n"
        printed, _ = child.communicate(timeout=20)
    assert printed == "stopped\n"
    assert child.returncode == 0
