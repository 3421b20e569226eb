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
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
import typer

from shared import terminal
from shared.errors.base import ExitCode
from shared.errors.inputs import NoDicomFound
from shared.errors.trust import TokenUsed
from shared.examination import Examined, Health, examined
from shared.extras import DISTRIBUTION

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
    assert set(error) == {"code", "message", "fields"}
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
    assert run(monkeypatch, "stop") == terminal.INTERRUPTED == 130
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
    assert "in work" not in output, "nobody asked for it"
    assert PLANTED not in output


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
    for kind in (click.ClickException, click.UsageError):
        monkeypatch.setitem(FAILURES, "known", kind("This\n is wrong."))
        assert run(monkeypatch, "fail", "known") == ExitCode.USAGE
        assert capsys.readouterr().err.startswith("error: This is wrong")


def test_a_verb_has_its_own_options_only(capsys: pytest.CaptureFixture[str]) -> None:
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
    group.format_help(context, context.make_formatter())
    assert "status" in capsys.readouterr().out
    described = group.described().commands["status"]
    assert (described.help or "").splitlines()[0] == (verb.help or "").splitlines()[0]


def test_the_release_is_said_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever else stands in the command line; without the option nothing is said of it."""
    app = sample_app()

    @app.callback()
    def main(release: terminal.Version = False) -> None:
        del release

    for arguments in (("--version",), ("--version", "succeed"), ("succeed",)):
        monkeypatch.setattr(sys, "argv", ["sample", *arguments])
        with pytest.raises(SystemExit) as end:
            terminal.run_app(app, "sample")
        said = capsys.readouterr().out
        assert (end.value.code or 0) == 0
        assert said == ("worked\n" if arguments == ("succeed",) else version(DISTRIBUTION) + "\n")


def test_a_package_that_is_not_there_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the program's extras; any other import that fails is a defect."""
    monkeypatch.setattr(sys, "argv", ["sample", "fail", "known"])
    for name, words in (("pydicom.inner", "ricord-federation[site]"), ("no_such_package", "defect of its own")):
        monkeypatch.setitem(FAILURES, "known", ModuleNotFoundError(name=name))
        with pytest.raises(SystemExit):
            terminal.run_app(sample_app(), "sample", ["site"])
        assert words in capsys.readouterr().err


def test_where_a_failure_arose_is_said_from_its_first_cause() -> None:
    """What was caught on the way is there unless it was hidden; causes in a ring end."""
    first, second, third = KeyError(PLANTED), ValueError(PLANTED), OSError(PLANTED)
    second.__context__ = first
    third.__cause__ = second
    named = [line.rpartition(".")[2] for line in terminal.trace_lines(third)]
    assert named == ["KeyError", "ValueError", "OSError"]
    second.__suppress_context__ = True
    assert len(terminal.trace_lines(third)) == 2
    second.__cause__ = third
    assert len(terminal.trace_lines(third)) == 2


def test_only_the_nearest_verb_is_suggested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = sample_app()
    app.command("succeeds")(lambda: None)
    monkeypatch.setattr(sys, "argv", ["sample", "suceed"])
    with pytest.raises(SystemExit):
        terminal.run_app(app, "sample")
    assert capsys.readouterr().err.startswith("error: There is no command `suceed` (did you mean `succeed`?);")
