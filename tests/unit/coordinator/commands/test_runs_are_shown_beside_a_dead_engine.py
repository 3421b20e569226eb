"""`run list` and `run show` say why no run goes on: one that waits for a dead engine looks like any other."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer

from coordinator.cli import app
from coordinator.commands import run as commands
from coordinator.federation.servicer import FederationServicer
from coordinator.home.settings import Home
from coordinator.service.engine_state import Doing, EngineFile, EngineState
from coordinator.store.records import Run
from shared.crypto.pki import Peer, Role
from shared.proto.ricord.v1.federation_pb2_grpc import add_FederationServiceServicer_to_server
from tests.factories.rows import make_run

AT = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)


class Coordinator:
    """A service with one run that waits."""

    def run(self, name: str, *, asker: str | None) -> Run:
        return make_run(1)

    def runs(self, *, after: str, limit: int, asker: str | None) -> tuple[Sequence[Run], bool]:
        return [make_run(1)], False


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    services: Any = Coordinator()
    peer = Peer(federation="test-federation", role=Role.COORDINATOR, name="operator")
    monkeypatch.setattr("coordinator.trust.interceptor.peer_of", lambda _: peer)
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_FederationServiceServicer_to_server(FederationServicer(services, services, services, services), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()

        @contextmanager
        def channel(home: Home) -> Iterator[grpc.Channel]:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
                yield opened

        monkeypatch.setattr(commands, "operator_channel", channel)
        yield
        server.stop(None).wait()


@pytest.mark.parametrize("command", [("list",), ("show", make_run(1).id)])
@pytest.mark.parametrize(
    ("doing", "said"),
    [("ended", True), ("starting", True), ("off", True), ("serving", False), ("standby", False), (None, False)],
)
def test_what_the_engine_does_is_said_where_it_executes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], doing: Doing | None, *, said: bool
) -> None:
    """On standard error, since when and why; nothing is added to what a script reads."""
    if doing is not None:
        state = EngineState(doing=doing, since=AT, restarts=1, last_end="exit code 9", last_end_at=AT)
        EngineFile(Home(tmp_path).federation).write(state)
    typer.main.get_command(app).main(["--home", str(tmp_path), "run", *command, "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    assert make_run(1).id in printed.out
    assert "engine" not in printed.out
    assert ("No run goes on now: " in printed.err and "exit code 9." in printed.err) is said, printed.err
