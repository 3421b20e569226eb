"""`cohort compute` starts a run and watches it; the run does not depend on who watches."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import typer

from coordinator.cli import app
from coordinator.cohort.servicer import CohortServicer
from coordinator.commands import cohort
from coordinator.federation.servicer import FederationServicer
from coordinator.home.settings import Home
from coordinator.store.records import Cohort, Run, RunState
from shared.crypto.pki import Peer, Role
from shared.errors.base import ExitCode
from shared.errors.federation import RunFailed, RunGoesOn
from shared.proto.ricord.v1.cohort_pb2_grpc import add_CohortServiceServicer_to_server
from shared.proto.ricord.v1.federation_pb2_grpc import add_FederationServiceServicer_to_server
from tests.factories.cohorts import released_table
from tests.factories.rows import make_run

RUN = make_run(1).id


class Coordinator:
    """The services of cohorts and runs; a run comes to the next of `states` each time somebody asks."""

    def __init__(self) -> None:
        self.states: list[RunState] = ["pending", "running", "running", "done"]
        self.stopped: list[str] = []

    def compute(self, name: str, policy: str, sites: Sequence[str], *, actor: str, wanted: object) -> Run:
        return make_run(1)

    def run(self, name: str, *, asker: str | None) -> Run:
        assert (name, asker) == (RUN, None)
        return make_run(1, self.states.pop(0))

    def stop_run(self, name: str, *, actor: str) -> Run:
        self.stopped.append(name)
        return make_run(1, "stopping")

    def cohort(self, name: str, *, asker: str | None) -> Cohort:
        assert (name, asker, self.states) == (RUN, None, [])
        return released_table().model_copy(update={"id": RUN}).row()


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Coordinator]:
    services: Any = Coordinator()
    peer = Peer(federation="test-federation", role=Role.COORDINATOR, name="operator")
    monkeypatch.setattr("coordinator.trust.interceptor.peer_of", lambda _: peer)
    monkeypatch.setattr(cohort, "_EARLIEST_SECONDS", 0)
    monkeypatch.setattr(cohort, "_POLL_SECONDS", (0, 0))
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_CohortServiceServicer_to_server(CohortServicer(services), server)
        add_FederationServiceServicer_to_server(FederationServicer(services, services, services, services), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()

        @contextmanager
        def channel(home: Home) -> Iterator[grpc.Channel]:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
                yield opened

        monkeypatch.setattr(cohort, "operator_channel", channel)
        yield services
        server.stop(None).wait()


def compute(*options: str) -> None:
    arguments = ["--home", "unused", "cohort", "compute", *options]
    typer.main.get_command(app).main(arguments, standalone_mode=False)


def test_the_table_is_shown_once_the_run_is_done(coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> None:
    """The run is named at once, on standard error; the table follows when the run has ended, and not before."""
    compute()
    printed = capsys.readouterr()
    assert f"Run {RUN} is queued. Ctrl-C leaves it going" in printed.err
    assert f"Its id is {RUN}." in printed.out
    assert not coordinator.states


def test_a_script_reads_the_table_and_nothing_else(
    coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--json`, one line of JSON."""
    compute("--json")
    printed = capsys.readouterr()
    assert (json.loads(printed.out)["id"], printed.err) == (RUN, "")


def test_a_run_that_fails_says_why(coordinator: Coordinator) -> None:
    """The command fails with the run's reason."""
    coordinator.states = ["running", "failed"]
    with pytest.raises(RunFailed) as caught:
        compute()
    assert "it was stopped" in caught.value.public


@pytest.mark.parametrize("states", [["pending"], ["running"]])
def test_the_waiting_ends_after_its_time_and_leaves_the_run_going(
    coordinator: Coordinator, states: list[RunState]
) -> None:
    """One sentence says how far the run is, which commands show the rest, and that one may come again."""
    coordinator.states = list(states)
    with pytest.raises(RunGoesOn) as caught:
        compute("--minutes", "0")
    assert all(word in caught.value.public for word in (f"Run {RUN} is {states[0]}", f"cohort show {RUN}"))
    assert (caught.value.exit_code, coordinator.stopped) == (ExitCode.UNREACHABLE, [])


def test_ctrl_c_leaves_the_run_going(coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends as shells expect; nobody is asked to stop the run."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(SystemExit) as caught:
        compute()
    assert caught.value.code == 130
    assert coordinator.stopped == []
