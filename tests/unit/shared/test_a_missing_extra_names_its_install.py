"""A missing extra is one sentence that names the `pip install`; no traceback, and nothing that restarts for ever."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from shared.errors.base import ExitCode
from shared.errors.settings import ExtraMissing
from shared.extras import extra_missing, require_extra

ROOT = Path(__file__).resolve().parents[3]
SITE = "pydicom pynetdicom openpyxl numpy PIL requests dicomweb_client onnxruntime"
COORDINATOR = "sqlalchemy alembic psycopg numpy"
FEDERATION = "flwr torch safetensors starlette uvicorn httpx"
_WITHOUT = """
import sys
program, absent, *sys.argv = sys.argv[1:]
sys.modules.update(dict.fromkeys(absent.split()))
__import__(program, fromlist=["main"]).main()
"""


def run_without(absent: str, program: str, *arguments: object) -> tuple[int, str]:
    """The exit code and standard error of a program in whose process the packages cannot be imported."""
    command = [sys.executable, "-c", _WITHOUT, program, absent, "program", *map(str, arguments)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=60)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("program", "absent", "arguments", "extra"),
    [
        ("site_node.cli", SITE, "receive .", "site"),
        ("site_node.cli", SITE, "receive --help", "site"),
        ("site_node.cli", SITE, "deidentify . out", "site"),
        ("site_node.cli", f"{SITE} {FEDERATION}", "run --once", "site"),
        ("coordinator.cli", COORDINATOR, "init --federation sample", "coordinator"),
    ],
)
def test_a_verb_without_its_packages_says_what_to_install(
    tmp_path: Path, program: str, absent: str, arguments: str, extra: str
) -> None:
    code, shown = run_without(absent, program, "--home", tmp_path / "home", *arguments.split())
    assert (code, shown.count("\n")) == (ExitCode.FAILED, 1)
    assert f"pip install 'ricord-federation[{extra}]'" in shown


def test_what_needs_no_extra_works_without(tmp_path: Path) -> None:
    """The help, and a coordinator's whole command line, are there with the least that is installed."""
    assert run_without(f"{SITE} {FEDERATION}", "site_node.cli", "--help") == (0, "")
    assert run_without(f"{SITE} {FEDERATION} {COORDINATOR}", "coordinator.cli", "--help") == (0, "")


def test_a_coordinator_without_the_engine_does_not_start_it(tmp_path: Path) -> None:
    """`serve` says what to install, or how to serve without, before it says `ready`."""
    home = tmp_path / "home"
    assert run_without("", "coordinator.cli", "--home", home, "init", "--federation", "sample")[0] == 0
    code, shown = run_without(FEDERATION, "coordinator.cli", "--home", home, "serve")
    *logged, error = shown.splitlines()
    assert code == ExitCode.FAILED
    assert {json.loads(line)["event"] for line in logged} == {"ca"}  # keys that lie open
    assert "ricord-federation[federation]" in error
    assert "--no-federation" in error


@pytest.mark.parametrize("extra", ["site", "coordinator", "curation", "federation", "simulation"])
def test_every_extra_is_known_by_what_it_installs(extra: str) -> None:
    """Each requirement of an extra leads back to an extra that has it; another import that fails is no extra's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = "ricord-federation["  # another extra, which is asked for by its own name
    for requirement in (each for each in project["optional-dependencies"][extra] if not each.startswith(own)):
        package = requirement.split(">")[0].split("=")[0].split("[")[0].replace("-", "_")
        error = extra_missing(ModuleNotFoundError(name=f"{package}.inner"), [extra])
        assert error is not None
        assert error.fields["extra"] == extra
    assert extra_missing(ModuleNotFoundError(name="no_such_package"), [extra]) is None
    assert extra_missing(ModuleNotFoundError("of no name"), [extra]) is None


def test_a_package_that_is_there_is_not_asked_for() -> None:
    require_extra("site", "json")
    with pytest.raises(ExtraMissing, match="no_such_package is not installed"):
        require_extra("site", "json", "no_such_package")
