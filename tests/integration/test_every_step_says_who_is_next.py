"""From the invitation to the first receipt, both command lines say who must do what next, in sentences."""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

from coordinator.cli import app as coordinator_app
from shared.agreement import State
from shared.error_texts import AGREEMENT_STEPS
from shared.errors import AgreementNotExecuted, ExitCode, next_step
from shared.terminal import run_app
from site_node.cli import app as site_app
from tests.factories.federation import Federation, running_federation

Call = Callable[..., tuple[int, str]]
NAME = "Walking Hospital"
MOMENT = re.compile(r"until \d{4}-\d\d-\d\d \d\d:\d\d UTC:\n(RICORD1-\S+)")


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with running_federation(tmp_path) as running:
        running.curator()
        yield running


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Run a command line in this process: its exit code, and what it prints on both streams."""
    hook = threading.excepthook

    def run(app: typer.Typer, home: Path, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["program", "--home", str(home), *arguments])
        with pytest.raises(SystemExit) as end:
            run_app(app, "program")
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out + captured.err

    yield run
    threading.excepthook = hook


def test_the_walk_to_membership_has_no_unexplained_wait(federation: Federation, call: Call) -> None:
    site, centre = federation.folder / "site", federation.home.folder
    call(site_app, site, "init", "--name", NAME)
    code, shown = call(site_app, site, "agreement", "status")
    assert (code, next_step(State.INTERESTED) in shown) == (0, True)

    invitation = MOMENT.search(call(coordinator_app, centre, "site", "invite", NAME)[1])
    assert invitation is not None
    code, shown = call(site_app, site, "agreement", "read", "--token", invitation.group(1))
    assert (code, next_step(State.INVITED) in shown) == (ExitCode.REFUSED, True)

    code, shown = call(coordinator_app, centre, "agreement", "draft", NAME, "--curator", "curator")
    assert (code, next_step(State.DRAFTED) in shown) == (0, True)
    code, shown = call(coordinator_app, centre, "agreement", "execute", NAME)
    assert (code, next_step(State.DRAFTED) in shown) == (ExitCode.REFUSED, True)
    code, shown = call(site_app, site, "agreement", "read", "--token", invitation.group(1))
    assert (code, "Studies are sealed to curator curator and nobody else." in shown) == (0, True)
    assert "age1" not in shown
    assert next_step(State.DRAFTED) in call(site_app, site, "agreement", "status")[1]

    signing = ("agreement", "sign", "--token", invitation.group(1), "--signatory", "Dr. A. Miller, Director", "--yes")
    assert call(site_app, site, *signing)[0] == 0
    status = json.loads(call(site_app, site, "agreement", "status", "--json")[1])
    assert status["next"] == next_step(State.SIGNED)
    code, shown = call(coordinator_app, centre, "agreement", "show", NAME)
    assert (code, "Dr. A. Miller, Director signed on" in shown, "age1" in shown) == (0, True, False)

    joining = MOMENT.search(call(coordinator_app, centre, "agreement", "execute", NAME)[1])
    assert joining is not None
    assert call(site_app, site, "enrol", "--token", joining.group(1))[0] == 0
    assert "The agreement is executed, version 1." in call(site_app, site, "agreement", "status")[1]
    federation.suspend(NAME)
    assert next_step(State.SUSPENDED) in call(site_app, site, "agreement", "status")[1]


def test_a_folder_that_is_no_curators_home_says_so(tmp_path: Path, call: Call) -> None:
    code, shown = call(coordinator_app, tmp_path, "curate", "list")
    assert (code, "curate init" in shown) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_next_step(state: State) -> None:
    """And the error of an agreement that is not in force carries it, also for a coordinator that sends none."""
    assert AGREEMENT_STEPS[state] in AgreementNotExecuted(state=state).public
