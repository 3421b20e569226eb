"""The README says what the programs say."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
READMES = ("README.md", "site_node/README.md", "coordinator/README.md", "coordinator/research/README.md")


def test_what_leaves_the_hospital_is_what_explain_says() -> None:
    """The section is generated: `ricord-site explain --what-leaves` between the two marks."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"a test holds it -->\n(.*?)<!-- what-leaves: end -->", text, re.DOTALL)
    explained = subprocess.run(
        [*command_of("ricord-site"), "explain", "--what-leaves"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert section is not None
    assert section.group(1).strip() == explained.stdout.strip()


def command_of(program: str) -> tuple[str, ...]:
    """How a program of the wheel starts in this tree."""
    return (sys.executable, "-m", SCRIPTS[program].partition(":")[0])


def shown_commands() -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Every line of a shell block that calls one of our programs: the program, its verbs, its options.

    An option that a comment offers in the place of what stands before it (`# or --study UID`) is shown, too.
    """
    shown = dict[tuple[str, tuple[str, ...]], set[str]]()
    for name in READMES:
        for block in re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                call = re.match(
                    r"(ricord-(?:site|coordinator|research))((?: +--home [^ ]+)?)((?: +[a-z]+(?:-[a-z]+)*)*)",
                    line.strip(),
                )
                if call:
                    typed, _, comment = line.strip()[call.end(2) :].partition(" # ")
                    offered = comment if comment.startswith("or --") else ""
                    options = shown.setdefault((call.group(1), tuple(call.group(3).split())), set())
                    options.update(re.findall(r"(?<!\S)--[a-z-]+", typed + offered))
    return sorted((program, words, tuple(sorted(options))) for (program, words), options in shown.items())


@pytest.mark.parametrize(("program", "words", "options"), shown_commands(), ids=str)
def test_every_command_shown_exists(program: str, words: tuple[str, ...], options: tuple[str, ...]) -> None:
    """Each command that a README shows has a `--help` that names its options; words that are arguments are dropped."""
    app = import_module(SCRIPTS[program].partition(":")[0]).app
    for count in range(len(words), 0, -1):
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words[:count], "--help"])
        if result.exit_code == 0:  # of that width no name is shortened
            assert "Usage" in result.output
            assert not [option for option in options if not re.search(rf"{option}\b(?!-)", result.output)]
            return
    pytest.fail(f"{program} {' '.join(words)} is shown and does not exist")


def test_the_make_targets_shown_exist() -> None:
    """Each make target that the README shows exists, `make federation` and `make test` among them."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = set(re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"federation", "test"} <= shown <= targets
