"""The command line helps: release, completion, the nearest verb, and no colour for those who want none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = {"ricord-site": "site_node.cli", "ricord-coordinator": "coordinator.cli"}
_COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]")


def run(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in this checkout, under the name that a user calls it by."""
    code = f"import sys; sys.argv[0] = {program!r}; from {PROGRAMS[program]} import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=variables, timeout=60)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_which_release_it_is(program: str) -> None:
    ended = run(program, "--version")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", ended.stdout)


@pytest.mark.parametrize(
    ("program", "arguments", "nearest"),
    [
        ("ricord-site", ["statsu"], "(did you mean `status`?)"),
        ("ricord-site", ["agreement", "raed"], "(did you mean `read`?)"),
        ("ricord-coordinator", ["curat"], "(did you mean `curate`?)"),
        ("ricord-site", ["nothing-like-this"], "`nothing-like-this`;"),
    ],
)
def test_a_mistyped_verb_is_answered_with_the_nearest(program: str, arguments: list[str], nearest: str) -> None:
    """At most one suggestion, and none where nothing is near."""
    ended = run(program, *arguments)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert nearest in ended.stderr
    assert ended.stderr.count("did you mean") == nearest.count("did you mean")


@pytest.mark.parametrize(
    ("program", "words", "completed"),
    [
        ("ricord-site", "ricord-site stat", "status"),
        ("ricord-site", "ricord-site agreement re", "read"),
        ("ricord-coordinator", "ricord-coordinator subm", "submission"),
    ],
)
def test_a_shell_can_complete_verbs(program: str, words: str, completed: str) -> None:
    variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
    last = str(words.count(" "))
    ended = run(program, COMP_WORDS=words, COMP_CWORD=last, **{variable: "complete_bash"})
    assert (ended.returncode, ended.stdout.split()) == (0, [completed])


def test_no_color_is_honoured(tmp_path: Path) -> None:
    """Where colours are shown, `NO_COLOR` takes them away, from help and from tables."""
    run("ricord-site", "--home", tmp_path / "home", "init", "--name", "General")
    for arguments in (("--help",), ("--home", tmp_path / "home", "status")):
        assert not _COLOUR.search(run("ricord-site", *arguments, FORCE_COLOR="1", NO_COLOR="1").stdout)
    assert _COLOUR.search(run("ricord-site", "--help", FORCE_COLOR="1", NO_COLOR="").stdout)
