"""Tasks over processes: each is done once, a killed worker's twice at most, and no worker is left running."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from shared.errors.inputs import InvalidArgument
from site_node.node.worker_processes import Processes
from site_node.node.workers import Engine, Inline
from site_node.standalone.engine_ray import Ray, check_tls, is_here


def double(number: int) -> int:
    return 2 * number


def killed_at(folder: Path, number: int) -> int:
    """Number 3 kills its worker once, number 5 always; each try leaves a mark."""
    tries = len(list(folder.glob(f"{number}.*")))
    (folder / f"{number}.{tries}").touch()
    if number == 5 or (number == 3 and tries == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("make", [Inline, partial(Processes, 2)])
def test_every_task_is_done_once(make: type[Inline] | partial[Processes]) -> None:
    engine: Engine = make()
    try:
        assert dict(engine.run(double, range(20))) == {number: 2 * number for number in range(20)}
        assert dict(engine.run(double, [])) == {}
        assert dict(engine.run(double, [1])) == {1: 2}
    finally:
        engine.close()


@pytest.mark.slow
def test_a_killed_workers_task_is_tried_once_more(tmp_path: Path) -> None:
    engine = Processes(2)
    try:
        results = dict(engine.run(partial(killed_at, tmp_path), range(8)))
    finally:
        engine.close()
    assert results == {number: None if number == 5 else number for number in range(8)}
    assert {number: len(list(tmp_path.glob(f"{number}.*"))) for number in (3, 4, 5)} == {3: 2, 4: 1, 5: 2}


@pytest.mark.slow
def test_a_worker_ends_with_its_killed_owner() -> None:
    """Also in the middle of a task, so that it does not work beside the workers of the next owner."""
    task = "import time; print('begun', flush=True); time.sleep(60)"
    program = f"from site_node.node.worker_processes import Processes; next(Processes(1).run(exec, [{task!r}]))"
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"begun\n"
    finally:
        owner.kill()
    assert owner.communicate(timeout=20)[0] == b""  # the pipe, which the worker inherited, is closed


def test_closing_in_the_middle_leaves_no_worker() -> None:
    engine = Processes(2)
    under_way = engine.run(double, range(100))
    next(under_way)
    workers = [worker.process.pid for worker, _, _ in engine._busy.values()] + [
        worker.process.pid for worker in engine._idle
    ]
    engine.close()
    assert workers
    assert not any(pid and Path(f"/proc/{pid}").exists() for pid in workers)


def test_an_abandoned_run_leaves_no_task_to_the_next() -> None:
    """Its workers are ended, so that no task is worked on twice at a time and no earlier result comes later."""
    engine = Processes(2)
    try:
        under_way = engine.run(double, range(100))
        next(under_way)
        del under_way
        assert dict(engine.run(double, [7])) == {7: 14}
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("local", True),
        ("127.0.0.1:6379", True),
        ("localhost:6379", True),
        ("ray://127.0.0.1:10001", True),
        ("[::1]:6379", True),
        ("ray://[::1]:10001", True),
        ("auto", False),
        ("10.0.0.7:6379", False),
        ("ray://head.hospital:10001", False),
        ("127.0.0.1.example.org:6379", False),
        ("localhost@10.0.0.7:6379", False),
        ("", False),
    ],
)
def test_only_loopback_counts_as_this_machine(address: str, here: bool) -> None:
    assert is_here(address) == here


def test_a_cluster_elsewhere_needs_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused before Ray is loaded, until the switch is on and every certificate file exists."""
    names = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
    for name in ("RAY_USE_TLS", *names):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidArgument, match="RAY_USE_TLS=1"):
        Ray("10.0.0.7:6379")
    monkeypatch.setenv("RAY_USE_TLS", "1")
    for name in names:
        with pytest.raises(InvalidArgument):
            check_tls()
        (tmp_path / name).touch()
        monkeypatch.setenv(name, str(tmp_path / name))
    check_tls()
