"""What a person or a script sees when an app ends."""

import errno
import json
import os
import sqlite3
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from shared import terminal, terminal_table
from shared.errors.base import ExitCode
from shared.errors.inputs import NoDicomFound
from shared.errors.trust import TokenUsed
from shared.examination import Examined, Health, examined

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
    terminal.print_table("Words", ("first-heading" * 3, "second"), [("x" * 50, "a-word-of-16-xxx")])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= width


def test_what_a_script_reads_is_what_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Text as it is, models as plain data, anything else as its text; errors likewise."""
    part = Examined(part="H\u00f6me", health=Health.GOOD, sentence="is here")
    terminal.print_json({"\u00fc": part, "at": Path("/x")})
    printed = capsys.readouterr().out
    assert printed == '{"\u00fc": {"part": "H\u00f6me", "health": "good", "sentence": "is here"}, "at": "/x"}\n'
    monkeypatch.setitem(FAILURES, "known", NoDicomFound(source="/\u00fc"))
    run(monkeypatch, "fail", "known", "--json")
    assert "/\u00fc" in capsys.readouterr().err
    run(monkeypatch, "succeed")
    assert capsys.readouterr().out == "worked\n"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("healths", "fails"), [("good note", False), ("good problem note", True), ("", False)])
def test_an_examination_fails_by_a_problem_only(
    capsys: pytest.CaptureFixture[str], healths: str, fails: bool, as_json: bool
) -> None:
    """Each part is shown when it was examined, in JSON all at once."""
    shown = list[str]()

    def parts() -> Iterator[Examined]:
        for health in healths.split():
            shown.append(capsys.readouterr().out)
            yield Examined(part="a part", health=Health(health), sentence="says so")

    with pytest.raises(typer.Exit) if fails else nullcontext() as ended:
        terminal.show_examination(parts(), as_json=as_json)
    shown.append(capsys.readouterr().out)
    assert ended is None or ended.value.exit_code == ExitCode.FAILED
    if as_json:
        assert [each["health"] for each in json.loads("".join(shown))] == healths.split()
        assert not any(shown[:-1])
    else:
        lines = [f"{health:<8} a part: says so\n" for health in healths.split()]
        assert shown == ["", *lines]


@pytest.mark.parametrize(
    ("error", "health"),
    [
        (TokenUsed(), Health.PROBLEM),
        (OSError(errno.EACCES, PLANTED), Health.PROBLEM),
        (FAILURES["closed"], Health.PROBLEM),
        (OSError(errno.EIO, PLANTED), None),
        (sqlite3.OperationalError(PLANTED), None),
        (KeyError(PLANTED), None),
    ],
)
def test_what_an_examination_meets_is_a_problem_unless_it_is_a_defect(error: Exception, health: Health | None) -> None:
    """Its sentence says what to do and quotes nothing; a defect is raised."""

    def examine() -> NoReturn:
        raise error

    if health is None:
        with pytest.raises(type(error)):
            examined("a part", examine)
        return
    result = examined("a part", examine)
    assert (result.part, result.health, PLANTED in result.sentence) == ("a part", health, False)
    assert examined("a part", lambda: (Health.NOTE, "not yet")).sentence == "not yet"


@given(
    words=st.lists(st.lists(st.integers(1, 30), min_size=3, max_size=3), min_size=1, max_size=5),
    space=st.integers(1, 160),
)
def test_columns_fill_the_space_and_break_no_short_word(words: list[list[int]], space: int) -> None:
    """They fit with their lines, hold what they can, and give up where not even words fit."""
    rows = [["x" * length for length in row] for row in words]
    widths, lines = terminal_table._widths(rows, space), 3 * 3 + 1
    whole = [max(column) for column in zip(*words, strict=True)]
    least = [max(n if n <= 16 else 6 for n in column) for column in zip(*words, strict=True)]
    if sum(least) + lines > space:
        assert widths == []
        return
    assert sum(widths) + lines <= space
    assert all(low <= width <= full for low, width, full in zip(least, widths, whole, strict=True))
    if sum(whole) + lines <= space:
        assert widths == whole
    elif whole[0] - least[0] <= space - lines - sum(least):
        assert widths[0] == whole[0]
    else:
        assert sum(widths) + lines > space - 3  # what is left is less than a character a column


def test_a_first_column_beyond_forty_characters_is_no_name() -> None:
    """It gets its share as the others do."""
    for length in (39, 40, 41):
        first, _ = terminal_table._widths([["x" * length, "y" * 60]], 3 * 2 + 1 + 60)
        assert (first == length) == (length <= 40)


def test_libraries_warnings_are_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They quote what they read."""
    run(monkeypatch, "succeed")
    warnings.warn(PLANTED, stacklevel=1)
    assert PLANTED not in capsys.readouterr().err
    assert warnings.filters[0][0] == "ignore"


def test_a_reader_that_went_away_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`| head` has read enough: nothing is said of it, and what Python writes at its end goes nowhere."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        assert run(patch, "succeed") == ExitCode.DONE
        os.write(writer, b"more")
    assert capsys.readouterr().err == ""


def test_a_wrong_use_that_no_command_has_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(FAILURES, "known", click.ClickException("This\n is wrong."))
    assert run(monkeypatch, "fail", "known") == ExitCode.USAGE
    assert capsys.readouterr().err == "error: This is wrong.\n"


def test_a_verb_has_its_own_options_only() -> None:
    """It is imported when it is called; there is no other verb, and completion is the whole program's."""
    app = terminal.make_app("A program.", package="site_node.commands", verbs=("status",))

    @app.callback()
    def main() -> None:
        pass

    group = typer.main.get_command(app)
    assert isinstance(group, terminal.VerbsOnDemand)
    context = click.Context(group)
    verb = group.get_command(context, "status")
    assert verb is not None
    assert verb.name == "status"
    assert not any("completion" in str(parameter.name) for parameter in verb.params)
    assert group.get_command(context, "folder_of") is None
    assert [item.value for item in group.shell_complete(context, "st")] == ["status"]
    described = group.described().commands["status"]
    assert (described.help or "").splitlines()[0] == (verb.help or "").splitlines()[0]


@pytest.mark.parametrize("longest", [16, 40, 41])
def test_a_name_stays_whole_where_not_even_words_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], longest: int
) -> None:
    """The first column is copied from a narrow terminal; names beyond 40 characters are folded, and nothing is lost."""
    monkeypatch.setenv("COLUMNS", "70")
    names = ("x" * longest, "y")
    terminal.print_table("Names", ("name", "b", "c", "d", "e"), [(name, *("a-word-of-16-xxx",) * 4) for name in names])
    shown = capsys.readouterr().out
    assert (names[0] in shown) == (longest <= 40)
    assert shown.count("x") >= longest
