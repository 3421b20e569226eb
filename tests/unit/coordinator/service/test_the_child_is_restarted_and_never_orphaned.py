"""A child that exits or hangs is restarted, and one whose parent has exited ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coordinator.service.engine_state import Alive, EngineFile, EngineNotes, EngineState
from coordinator.service.pulse import SILENCE_SECONDS
from coordinator.service.supervisor import keep_running
from coordinator.store.sql import SqlStore, open_store
from shared.errors.transport import StoreUnreachable

WATCHING = """
import threading
from coordinator.service.pulse import stop_with_parent
stop = threading.Event()
stop_with_parent(stop)
print("watching", flush=True)
stop.wait(30)
print("stopped" if stop.is_set() else "still here")
"""
BEATING = """
import sys, threading, time
from coordinator.service.pulse import Parent
parent = Parent(threading.Event())
with open(sys.argv[1], "a") as log:
    log.write("x")
for beat in range(int(sys.argv[2])):
    parent.hear(sys.argv[3])
    time.sleep(0.05)
if sys.argv[4]:
    import os, signal
    os.kill(os.getpid(), getattr(signal, sys.argv[4]))
time.sleep(60)
"""
SHORT: dict[Alive, float] = {"starting": 20.0, "standby": 0.5, "serving": 0.5}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


@contextmanager
def kept(command: tuple[str, ...], notes: EngineNotes) -> Iterator[None]:
    """A child that is kept running while the block runs, with short pauses and patience."""
    stop, options = threading.Event(), {"pauses": (0.01,), "silence": SHORT}
    keeper = threading.Thread(target=keep_running, args=(command, stop, notes), kwargs=options)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(20)
        assert not keeper.is_alive()


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.02)


def noted(store: SqlStore) -> set[tuple[str, str, str]]:
    with store.read() as reading:
        return {(event.object, event.action, event.result) for event in reading.events()}


def test_a_child_that_ends_by_itself_is_started_again(tmp_path: Path, store: SqlStore) -> None:
    """As often as it exits, and never after the stop; each of its ends is an audit event."""
    log, notes = tmp_path / "starts", EngineNotes(tmp_path / "engine", store)
    with kept((sys.executable, "-c", f"open({str(log)!r}, 'a').write('x'); raise SystemExit(3)"), notes):
        wait_for(lambda: log.exists() and len(log.read_text()) >= 3)
    starts = len(log.read_text())
    time.sleep(0.1)
    assert len(log.read_text()) == starts
    assert noted(store) == {("federation", "ended by itself", "exit code 3")}


@pytest.mark.parametrize(("doing", "fault"), [("serving", "SIGSTOP"), ("standby", "")])
def test_a_child_that_hangs_is_ended_and_started_again(tmp_path: Path, store: SqlStore, doing: str, fault: str) -> None:
    """Whether all of it stands still or only what gives the signs: it was alive, then silent for too long."""
    log, notes = tmp_path / "starts", EngineNotes(tmp_path / "engine", store)
    with kept((sys.executable, "-c", BEATING, str(log), "3", doing, fault), notes):
        wait_for(lambda: log.exists() and len(log.read_text()) >= 2)
        wait_for(lambda: (state := EngineFile(tmp_path / "engine").read()) is not None and state.doing == doing)
        state = EngineFile(tmp_path / "engine").read()
    assert state is not None
    assert state.restarts >= 1
    assert state.last_end == "no sign of life for 0.5 s"
    assert ("federation", "ended since it hung", "no sign of life for 0.5 s") in noted(store)


def test_a_child_that_gives_signs_of_life_is_left_alone(tmp_path: Path, store: SqlStore) -> None:
    """For longer than it may be silent; while it starts it may be silent for longer, too."""
    log, notes = tmp_path / "starts", EngineNotes(tmp_path / "engine", store)
    with kept((sys.executable, "-c", BEATING, str(log), "1000", "serving", ""), notes):
        wait_for(log.exists)
        time.sleep(3 * SHORT["serving"])
        assert log.read_text() == "x"
    assert not noted(store)
    assert min(SILENCE_SECONDS.values()) >= 60  # a database that another process holds is waited for


def test_a_halt_of_both_processes_is_no_hang(tmp_path: Path, store: SqlStore) -> None:
    """As of a machine that sleeps: the time that this process itself stood still does not count as silence."""
    log = tmp_path / "starts"
    parent = f"""
import threading
from coordinator.service.engine_state import EngineNotes
from coordinator.service.supervisor import keep_running
from coordinator.store.sql import open_store
from pathlib import Path
store = open_store({f"sqlite:///{tmp_path / 'store.sqlite'}"!r})
silence = dict.fromkeys(("starting", "standby", "serving"), 1.5)
command = {(sys.executable, "-c", BEATING, str(log), "1000", "serving", "")!r}
notes = EngineNotes(Path({str(tmp_path / "engine")!r}), store)
keep_running(command, threading.Event(), notes, silence=silence | {{"starting": 20}})
"""
    with subprocess.Popen([sys.executable, "-c", parent], start_new_session=True) as process:
        state = EngineFile(tmp_path / "engine")
        try:
            wait_for(lambda: (read := state.read()) is not None and read.doing == "serving")
            for sign in (signal.SIGSTOP, signal.SIGCONT):
                os.killpg(process.pid, sign)
                time.sleep(2)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert log.read_text() == "x"
    assert not noted(store)


def test_a_child_that_runs_is_ended_with_the_stop(tmp_path: Path, store: SqlStore) -> None:
    """Within its grace; that it runs no more is written down, and is no event."""
    with kept((sys.executable, "-c", "import time; time.sleep(60)"), EngineNotes(tmp_path, store)):
        wait_for(lambda: (state := EngineFile(tmp_path).read()) is not None and state.doing == "starting")
    state = EngineFile(tmp_path).read()
    assert state is not None
    assert (state.doing, state.restarts) == ("off", 0)
    assert not noted(store)


def test_a_note_that_cannot_be_taken_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away, a folder that is none: the keeper goes on."""

    class Away:
        def begin(self) -> None:
            raise StoreUnreachable

    (tmp_path / "file").write_text("")
    notes = EngineNotes(tmp_path / "file", Away())  # type: ignore[arg-type] # as much of a store as it asks
    notes.heard("serving")
    notes.ended("ended by itself", "exit code 1")


def test_the_words_say_since_when_how_often_and_why(tmp_path: Path, store: SqlStore) -> None:
    """What `doctor` and `run list` show; the file gives back what was written."""
    notes, file = EngineNotes(tmp_path, store), EngineFile(tmp_path)
    for _ in range(2):
        notes.heard("starting")
        notes.heard("serving")
        notes.ended("ended since it hung", "no sign of life for 60 s")
    state = file.read()
    assert state is not None
    assert (state.doing, state.executes) == ("ended", False)
    assert "it ended 2 times since `serve` began, last on 20" in state.words
    assert state.words.endswith(": no sign of life for 60 s")
    notes.heard("serving")
    assert (after := file.read()) is not None
    assert after == EngineState(**{**state.model_dump(), "doing": "serving", "since": after.since})
    (tmp_path / "engine.json").write_text("{")
    assert file.read() is None


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
