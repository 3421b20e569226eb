"""The process that listens is started again where it died, and only there; it never outlives its parent's block."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from shared.errors.settings import PortInUse
from site_node.node import scp_process, worker_processes
from site_node.node.scp_process import serving_in_process
from site_node.settings.dimse import ScpSettings
from tests.factories.pipeline import make_home
from tests.factories.ports import free_port


def processes() -> list[int | None]:
    return [child.pid for child in multiprocessing.active_children() if child.name == "scp"]


def test_one_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once; one that lives is left alone, and none is left at the end."""
    monkeypatch.setattr(scp_process, "_CHECK_SECONDS", 0.1)
    home = make_home(tmp_path / "home")
    settings = ScpSettings(host="127.0.0.1", port=free_port(), callers=["SENDER"], min_free_mb=0)
    with capture_logs() as logged, serving_in_process(home.folder, settings) as first:
        time.sleep(0.5)
        assert (processes(), logged) == ([first.pid], [])
        with pytest.raises(PortInUse), serving_in_process(home.folder, settings):
            pass
        first.kill()
        until = time.monotonic() + 30
        while processes() in ([], [first.pid]) and time.monotonic() < until:
            time.sleep(0.05)
        (again,) = processes()
        assert again != first.pid
    assert [entry["event"] for entry in logged] == ["scp.ended"]
    assert processes() == []


def test_a_worker_ends_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a study, and not before; a process that nobody owns goes on."""
    ours, theirs = multiprocessing.Pipe()
    codes = list[int]()
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    worker_processes._end_with_owner()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(sentinel=ours))
    watching = threading.Thread(target=worker_processes._end_with_owner)
    watching.start()
    watching.join(0.2)
    assert (watching.is_alive(), codes) == (True, [])
    theirs.close()
    watching.join(30)
    assert (watching.is_alive(), codes) == (False, [1])


def test_a_worker_answers_each_task_until_its_owner_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, and nothing more; its end is no error."""
    monkeypatch.setattr(worker_processes, "be_quiet", lambda: None)
    ignored = list[tuple[object, object]]()
    monkeypatch.setattr(signal, "signal", lambda *both: ignored.append(both))
    ours, theirs = multiprocessing.Pipe()
    working = threading.Thread(target=worker_processes._serve, args=(theirs, "site_node.node.crew"))
    working.start()
    for work, task, result in ((abs, -3, 3), (len, "ab", 2)):
        ours.send((work, task))
        assert ours.poll(30)
        assert ours.recv() == result
    assert not ours.poll(0.1)
    assert ignored == [(signal.SIGINT, signal.SIG_IGN)], "an interrupt is for the owner"
    ours.close()
    working.join(30)
    assert not working.is_alive()
