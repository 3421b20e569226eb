"""`pacs` and `receive --accessions`: each mistake of a person has its sentence and exit code."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from site_node.network.arrivals import Arrivals
from site_node.network.scp import serving
from site_node.settings.dimse import ScpSettings
from tests.factories.pacs import key_of
from tests.factories.ports import free_port

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, run: Run) -> Path:
    assert run("--home", tmp_path / "home", "init", "--name", "General")[0] == 0
    return tmp_path / "home"


def with_pacs(home: Path, port: int, **more: object) -> None:
    lines = {"host": "127.0.0.1", "port": port, "ae_title": "PACS", "attempts": 1, "answer_seconds": 2.0, **more}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    with (home / "site.toml").open("a") as file:
        file.write(f"\n[pacs]\n{text}")


def test_without_a_pacs_in_the_settings_nothing_is_asked(run: Run, home: Path) -> None:
    """The sentence names the file and the section; so it does for `move` without our own SCP."""
    code, _, text = run("--home", home, "pacs", "test")
    assert (code, "site.toml" in text, "`pacs`" in text) == (ExitCode.USAGE, True, True)
    with_pacs(home, 104, method="move")
    code, _, text = run("--home", home, "pacs", "test")
    assert (code, "`pacs.method`" in text) == (ExitCode.USAGE, True)


def test_a_pacs_that_is_not_there(run: Run, home: Path) -> None:
    """`pacs test` says so; a list is kept, and ends with that reason where no attempt is left."""
    with_pacs(home, free_port())
    assert run("--home", home, "pacs", "test")[0] == ExitCode.UNREACHABLE
    (home / "list.txt").write_text("A1\nA1\n")
    code, text, _ = run("--home", home, "receive", "--accessions", home / "list.txt", "--json")
    assert code == ExitCode.PARTIAL
    assert json.loads(text)["rows"] == {"1": "pacs-unreachable", "2": "duplicate-in-list"}
    code, text, _ = run("--home", home, "status")
    assert (code, "pacs-unreachable" in text) == (0, True)
    assert run("--home", home, "pacs", "retry", "--json")[0] == 0


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_person_reads_sentences_and_a_log_has_events(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    """On a terminal the sentence says it; elsewhere the event with both titles stands before it."""
    with_pacs(home, free_port())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    lines = run("--home", home, "pacs", "test")[2].splitlines()
    assert lines[-1].startswith("error: No PACS answers")
    assert [json.loads(line)["event"] for line in lines[:-1]] == ([] if is_terminal else ["pacs.association_refused"])


def test_a_pacs_that_does_not_let_us_in(run: Run, home: Path, tmp_path: Path) -> None:
    """Both titles are named, since one of them has to be corrected."""
    port = free_port()
    with_pacs(home, port)
    other = ScpSettings(host="127.0.0.1", port=port, callers=("ELSE",), ae_title="PACS")
    with serving(other, Arrivals(tmp_path / "other", key_of)):
        code, _, text = run("--home", home, "pacs", "test")
        assert (code, "RICORD" in text, "PACS" in text) == (ExitCode.REFUSED, True, True)


def test_outside_the_hours_requests_wait(run: Run, home: Path) -> None:
    """The PACS is never asked; the list is kept for the night, and not entered twice."""
    with_pacs(home, free_port(), hours="00:00-00:00")
    (home / "list.csv").write_text("Accession Number\nA1\nA2\n")
    words = ("--home", home, "receive", "--accessions", home / "list.csv", "--json")
    run(*words)
    code, text, _ = run(*words)
    report = json.loads(text)
    assert (code, report["requests"], report["waiting"], report["rows"]) == (ExitCode.DONE, 2, 2, {})
    status = json.loads(run("--home", home, "status", "--json")[1])
    assert status["requests"]["states"] == {"waiting": 2}


@pytest.mark.parametrize(
    "words",
    [
        ("pacs", "find"),
        ("pacs", "find", "--modality", "CT"),
        ("pacs", "find", "--accession", "A*"),
        ("pacs", "find", "--dates", "last week"),
        ("receive",),
        ("receive", "here", "--accessions", "list.txt"),
        ("receive", "--accessions", "gone.xlsx"),
    ],
    ids=" ".join,
)
def test_an_invalid_query_is_refused_before_the_pacs_is_asked(run: Run, home: Path, words: tuple[str, ...]) -> None:
    with_pacs(home, free_port())
    code, _, text = run("--home", home, *words)
    assert code == ExitCode.USAGE, text
