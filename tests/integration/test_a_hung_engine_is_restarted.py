"""An engine that stands still without ending is noticed, ended and started again; its runs go on or end by name."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from os import kill
from pathlib import Path

from coordinator.home.settings import Home
from coordinator.service.doctor import examine
from coordinator.service.engine_state import EngineFile
from coordinator.store.sql import open_unchanged
from shared.examination import Health
from shared.manifest import canonical_json
from shared.proto.ricord.v1 import federation_pb2 as wire
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from tests.factories.federation import Federation, make_federation

SILENCE = 4.0  # seconds, in place of a minute
SERVE = f"""
import sys
from coordinator.service import supervisor
supervisor.keep_running.__kwdefaults__["silence"] = {{"starting": 120.0, "standby": {SILENCE}, "serving": {SILENCE}}}
from coordinator.cli import main
main()
"""
REQUESTS = (
    {"purpose": "training", "training": {"image_size": 32}},
    {"purpose": "statistics", "statistics": {"cohort": "ricord"}},
)


@contextmanager
def coordinator(home: Home) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVE, "--home", str(home.folder), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
        try:
            assert run.stdout is not None
            assert any("ready" in line for line in run.stdout)
            yield run
            run.terminate()
            run.wait(30)
        finally:
            run.kill()


def comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def child_of(parent: int) -> int:
    """Its only child process."""
    (child,) = {word for file in Path(f"/proc/{parent}/task").glob("*/children") for word in file.read_text().split()}
    return int(child)


def states(federation: Federation) -> dict[str, tuple[str, str]]:
    with federation.operator() as channel:
        runs = FederationServiceStub(channel).ListRuns(wire.ListRunsRequest()).runs
        return {run.id: (run.state, run.problem) for run in runs}


def test_an_engine_that_stands_still_is_ended_and_its_runs_go_on(tmp_path: Path) -> None:
    """A training is taken up again, a query ends by name; the audit log, `doctor` and the file say what happened."""
    federation = make_federation(tmp_path)
    home = federation.home
    engine = EngineFile(home.federation)

    def does(doing: str, restarts: int) -> bool:
        state = engine.read()
        return state is not None and (state.doing, state.restarts) == (doing, restarts)

    with coordinator(home) as serving:
        federation.curator()
        for name in ("North Hospital", "South Hospital", "West Hospital"):
            federation.site(name)
        assert comes_true(lambda: does("serving", 0), 90)
        with federation.operator() as channel:
            runs = [
                FederationServiceStub(channel).StartRun(wire.StartRunRequest(plan=canonical_json(request))).run.id
                for request in REQUESTS
            ]
        assert comes_true(lambda: {state for state, _ in states(federation).values()} == {"running"}, 20)
        kill(child_of(serving.pid), signal.SIGSTOP)
        assert comes_true(lambda: does("ended", 1), SILENCE + 20)
        part = {each.part: each for each in examine(home, datetime.now(UTC))}["federated runs"]
        assert part.health is not Health.GOOD
        assert f"no sign of life for {SILENCE:g} s" in part.sentence
        assert comes_true(lambda: does("serving", 1), 90)
        part = {each.part: each for each in examine(home, datetime.now(UTC))}["federated runs"]
        assert (part.health, "it ended 1 time since" in part.sentence) == (Health.NOTE, True), part.sentence
        ended = ("failed", "the federation was stopped in the middle of it")
        assert comes_true(lambda: states(federation)[runs[1]] == ended, 20)
        assert comes_true(lambda: states(federation)[runs[0]][0] == "running", 20)
    assert does("off", 1)
    store = open_unchanged(home.database(home.settings()), password_file=None)
    with store.read() as reading:
        actions = [(event.action, event.object, event.result) for event in reading.events()]
    store.close()
    assert ("ended since it hung", "federation", f"no sign of life for {SILENCE:g} s") in actions
    assert ("run taken up again", runs[0], "done") in actions
