"""From the invitation to the first receipt, both command lines say who must do what next, in sentences."""

import hashlib
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
from shared.agreement_steps import AGREEMENT_STEPS, next_step
from shared.errors.agreements import AgreementNotExecuted
from shared.errors.base import ExitCode
from shared.terminal import run_app
from site_node.cli import app as site_app
from site_node.home.folder import SiteHome
from site_node.membership.record import load_membership
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
    code, shown = call(coordinator_app, centre, "agreement", "amend", NAME, "--studies", "50", "--locations", "A, B")
    assert (code, "It covers 50 studies at most." in shown, next_step(State.DRAFTED) in shown) == (0, True, True)
    assert next_step(State.DRAFTED) in call(site_app, site, "agreement", "status")[1]
    code, shown = call(site_app, site, "agreement", "read")
    assert (code, "The data come from A, B." in shown, "age1" in shown) == (0, True, False)
    assert call(site_app, site, "agreement", "sign", "--signatory", "Dr. A. Miller, Director", "--yes")[0] == 0
    assert "The agreement is executed, version 1." in call(site_app, site, "agreement", "status")[1]
    assert call(coordinator_app, centre, "agreement", "execute", NAME)[0] == 0
    assert "The agreement is executed, version 2." in call(site_app, site, "agreement", "status")[1]
    assert load_membership(SiteHome(site)).terms.scope.locations == ("A", "B")
    federation.suspend(NAME)
    assert next_step(State.SUSPENDED) in call(site_app, site, "agreement", "status")[1]


HEADING = "name,country,modalities,studies,modes,clinical_data,ethics\n"
GOOD = "Willing Hospital,DE,CT;DX,900,submit;cohort,yes,applied\n"


def test_answers_to_the_open_call_are_imported(federation: Federation, call: Call) -> None:
    """Each hospital is interested, and shown with its answer."""
    file = federation.folder / "answers.csv"
    file.write_text("\ufeff" + HEADING + GOOD + GOOD.replace("Willing", "Other"), encoding="utf-8")
    code, shown = call(coordinator_app, federation.home.folder, "site", "survey", "import", str(file), "--json")
    assert (code, json.loads(shown)) == (0, {"recorded": 2, "replaced": 0})
    shown = call(coordinator_app, federation.home.folder, "site", "show", "Willing Hospital", "--json")[1]
    site = json.loads(shown)
    assert (site["state"], site["survey"]["modalities"], site["survey"]["studies"]) == ("interested", ["CT", "DX"], 900)


@pytest.mark.parametrize(
    "bad",
    [
        "Bad,DE,XY,900,submit,yes,applied\n",
        "Bad,DE,CT,many,submit,yes,applied\n",
        "Bad,DE,CT,99999999999,submit,yes,applied\n",
        "Bad,DE,CT,0,submit,yes,applied\n",
        "Bad,Germany,CT,1,submit,yes,applied\n",
        "Bad,DE,,1,submit,yes,applied\n",
        "Bad,DE,CT,1,everything,yes,applied\n",
        "Bad,DE,CT,1,submit,perhaps,applied\n",
        "Bad,DE,CT,1,submit,yes,asked\n",
        "Bad,DE,CT,1,submit,yes\n",
        "Bad,DE,CT,1,submit,yes,applied,more\n",
        "willing hospital,DE,CT,1,submit,yes,applied\n",
        GOOD,
        "\u00a0,DE,CT,1,submit,yes,applied\n",
    ],
)
def test_one_bad_answer_is_named_and_none_is_recorded(federation: Federation, call: Call, bad: str) -> None:
    """One sentence, and an exit code that is not 0."""
    file = federation.folder / "answers.csv"
    file.write_text(HEADING + GOOD + bad, encoding="utf-8")
    code, shown = call(coordinator_app, federation.home.folder, "site", "survey", "import", str(file))
    assert (code, "Answer 2" in shown) == (ExitCode.USAGE, True)
    with federation.reading() as reading:
        assert reading.sites() == []


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"name,country\n", HEADING.encode() + b'"open'])
def test_a_file_that_is_no_survey_says_so(federation: Federation, call: Call, data: bytes) -> None:
    """A wrong heading, encoding or quotation."""
    file = federation.folder / "answers.csv"
    file.write_bytes(data)
    code, shown = call(coordinator_app, federation.home.folder, "site", "survey", "import", str(file))
    assert (code != 0, "defect" in shown, len(shown.strip().splitlines()) <= 2) == (True, False, True)


@pytest.mark.parametrize(
    "options",
    [
        ("--expires", "2020-01-01"),
        ("--expires", "tomorrow"),
        ("--expires", "9999-12-31"),
        ("--starts", "0001-01-01"),
        ("--starts", "2099-01-02", "--expires", "2099-01-01"),
        ("--modalities", "CT,chest"),
        ("--modes", "all"),
        ("--scope-file", "/nowhere"),
        ("--earlier-site-ids", "12345"),
        ("--curator", "nobody"),
    ],
)
def test_a_draft_that_cannot_be_meant_is_one_sentence(
    federation: Federation, call: Call, options: tuple[str, ...]
) -> None:
    """Its hospital stays invited."""
    federation.invite(NAME)
    given = options if "--curator" in options else (*options, "--curator", "curator")
    code, shown = call(coordinator_app, federation.home.folder, "agreement", "draft", NAME, *given)
    assert (code != 0, "defect" in shown, shown.count("error:")) == (True, False, 1)
    with federation.reading() as reading:
        assert [agreement.state for agreement in reading.agreements()] == [State.INVITED]


def test_only_a_pdf_is_attached(federation: Federation, call: Call) -> None:
    """It is named by its SHA-256."""
    federation.site(NAME)
    file = federation.folder / "signed.pdf"
    for data, good in ((b"%PDF-1.7 signed", True), (b"PK", False)):
        file.write_bytes(data)
        code, shown = call(coordinator_app, federation.home.folder, "agreement", "attach", NAME, str(file))
        assert (code == 0, hashlib.sha256(data).hexdigest() in shown) == (good, good)


def test_a_folder_that_is_no_curators_home_says_so(tmp_path: Path, call: Call) -> None:
    code, shown = call(coordinator_app, tmp_path, "curate", "list")
    assert (code, "curate init" in shown) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_next_step(state: State) -> None:
    """And the error of an agreement that is not in force carries it, also for a coordinator that sends none."""
    assert AGREEMENT_STEPS[state] in AgreementNotExecuted(state=state).public
