"""Whoever decides is named, by `--as` or by RICORD_SITE_PERSON; the Unix account never is."""

import getpass
import json
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from tests.factories.pipeline import key_of
from tests.unit.site_node.commands.conftest import Run

KEY = key_of("any")
DECIDING = [
    ("review", "release", KEY, "--reason", "x"),
    ("review", "accept", KEY, "--reason", "x"),
    ("review", "reject", KEY, "--reason", "x"),
    ("review", "blank", KEY, "--reason", "x"),
    ("review", "reidentify", "123456-000001", "--reason", "x"),
    ("run", "--once", "--retry", KEY),
    ("words", "accept", "hilusblick"),
    ("words", "drop", "hilusblick"),
    ("clinical", "import", "{sheet}"),
    ("key", "linkage", "export", "linkage.age"),
    ("key", "linkage", "import", "linkage.age"),
    ("key", "linkage", "import-index", "index.csv"),
    ("witness", "resume", "--reason", "x"),
]


@pytest.fixture
def home(tmp_path: Path, run: Run) -> SiteHome:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    (tmp_path / "sheet.csv").write_text("mrn,covid_status\nP1,positive\n")
    return SiteHome(tmp_path / "home")


def words_of(command: tuple[str, ...], home: SiteHome) -> list[str]:
    return [word.format(sheet=home.folder.parent / "sheet.csv") for word in command]


@pytest.mark.parametrize("name", [(), ("--as", " "), ("--as", "a\x1b[2Jb")])
@pytest.mark.parametrize("command", DECIDING)
def test_without_a_name_nothing_is_decided(
    run: Run, home: SiteHome, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], name: tuple[str, ...]
) -> None:
    """One sentence and exit code 2 for each command that decides; nothing is kept."""
    monkeypatch.delenv("RICORD_SITE_PERSON")
    code, _, error = run("--home", home.folder, *words_of(command, home), *name)
    assert (code, error.count("\n")) == (ExitCode.USAGE, 1)
    assert "say who decides" in error
    ledger = Ledger(home.ledger)
    assert (ledger.events(), ledger.sheets.all(), list(home.clinical.iterdir())) == ((), {}, [])
    ledger.close()


def test_the_option_goes_before_the_environment_and_the_account_is_not_kept(run: Run, home: SiteHome) -> None:
    words = words_of(("clinical", "import", "{sheet}"), home)
    run("--home", home.folder, *words)
    run("--home", home.folder, *words, "--as", "  B.  Jones ")
    shown = json.loads(run("--home", home.folder, "review", "audit", "--json")[1])
    assert [event["actor"] for event in shown] == ["A. Miller", "B. Jones"]
    assert getpass.getuser() not in {event["actor"] for event in shown}
