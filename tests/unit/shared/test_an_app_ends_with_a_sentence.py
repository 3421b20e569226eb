"""What a person or a script sees when an app ends."""

import errno
import json
import sqlite3
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from shared import terminal
from shared.errors.base import ExitCode
from shared.errors.inputs import NoDicomFound
from shared.errors.trust import TokenUsed

PLANTED = "Doe^Jane"
FAILURES: dict[str, Any] = {
    "known": NoDicomFound(PLANTED, source="/archive"),
    "refused": TokenUsed(),
    "defect": ValueError(PLANTED),
}
FAILURES["full"] = OSError(errno.ENOSPC, "No space left on device", PLANTED)

FAILURES["denied"] = OSError(errno.EROFS, "Read-only file system", PLANTED)
FAILURES["closed"] = sqlite3.OperationalError(PLANTED)
FAILURES["closed"].sqlite_errorname = "SQLITE_READONLY"


def sample_app() -> typer.Typer:
    app = terminal.make_app("A program for this test.")

    @app.command()
    def succeed(code: int = 0) -> None:
        terminal.print_line("worked")
        raise typer.Exit(code)

    @app.command()
    def fail(kind: str, *, as_json: bool = typer.Option(False, "--json")) -> None:
        raise FAILURES[kind] from KeyError(PLANTED)

    @app.command()
    def stop() -> None:
        raise KeyboardInterrupt

    return app


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Undo what `run_app` changes in the process, which it normally ends."""
    hook = threading.excepthook
    with warnings.catch_warnings():
        yield
    threading.excepthook = hook


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sample", *arguments])
    with pytest.raises(SystemExit) as end:
        terminal.run_app(sample_app(), "sample")
    return int(end.value.code or 0)


@pytest.mark.parametrize("code", [0, 3])
def test_a_verbs_exit_code_is_the_processes(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    assert run(monkeypatch, "succeed", "--code", str(code)) == code


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("known", (ExitCode.USAGE, "/archive holds no DICOM")),
        ("refused", (ExitCode.REFUSED, "already used")),
        ("defect", (ExitCode.FAILED, "defect of its own")),
        ("full", (ExitCode.FAILED, "no room left")),
        ("denied", (ExitCode.FAILED, "may not read or write")),
        ("closed", (ExitCode.FAILED, "may not read or write")),
    ],
)
def test_every_failure_is_one_sentence_without_a_value(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    expected: tuple[ExitCode, str],
) -> None:
    """Known or not, with `--debug` or without: one `error:` line, its exit code, and never what an exception holds."""
    code, words = expected
    for debug in ((), ("--debug",)):
        assert run(monkeypatch, "fail", kind, *debug) == code
        output = capsys.readouterr().err
        assert [line for line in output.splitlines() if line.startswith("error: ")] == [output.splitlines()[-1]]
        assert words in output
        assert PLANTED not in output
        assert ("KeyError" in output and "in fail" in output) == bool(debug)


def test_with_json_the_error_is_an_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "fail", "known", "--json") == ExitCode.USAGE
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["fields"]) == ("no-dicom-found", {"source": "/archive"})


@pytest.mark.parametrize(
    "arguments", [("nothing-like-this",), ("succeed", "--nope"), ("fail",), ("succeed", "--code", "x")]
)
def test_wrong_usage_is_one_sentence_that_names_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *arguments) == ExitCode.USAGE
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert "--help" in output


def test_an_interrupt_says_that_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "stop") == terminal.INTERRUPTED
    assert "start again" in capsys.readouterr().err


def test_help_names_every_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    output = " ".join(capsys.readouterr().out.split())
    for code, text in terminal.EXIT_TEXTS.items():
        assert f"{int(code)} {text}" in output
    assert set(terminal.EXIT_TEXTS) == set(ExitCode)


def test_a_threads_failure_shows_no_value(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "succeed")

    def work() -> None:
        raise ValueError(PLANTED)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    output = capsys.readouterr().err
    assert "defect" in output
    assert PLANTED not in output


def test_a_table_shows_its_cells_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_table("Studies", ["state", "count"], [("[bold]waiting[/bold]", 3)])
    assert "[bold]waiting[/bold]" in capsys.readouterr().out


def test_a_table_breaks_no_word_where_there_is_space(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 80 columns a digest of 64 digits is folded; headings, dates and codes stay whole."""
    monkeypatch.setenv("COLUMNS", "80")
    headings = ("id", "SITEID", "sequence", "modalities", "instance count", "received at")
    words = ("895096", "CR", "clinical-import", "2026-11-30", "10:04:17")
    row = ("9e23290b" * 8, words[0], 1, words[1], words[2], f"{words[3]} {words[4]}")
    terminal.print_table("Submissions", headings, [row, row])
    lines = capsys.readouterr().out.splitlines()
    shown = " ".join(lines).split()
    assert all(word in shown for word in (*words, *" ".join(headings).split()))
    assert {line[-1] for line in lines[1:]} <= set("┓┃┩│┘")  # nothing is cut off at the right
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_is_as_narrow_as_the_terminal_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """Where the words of a row need more than the terminal has, they are folded."""
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.print_table("Words", ("first", "second"), [("x" * 50, "a-word-of-16-xxx")])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= width
