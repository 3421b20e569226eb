"""`--help`, `status` and `health` answer at once: they load nothing that only another verb needs."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import site_node.cli
from shared.monitoring.pulse import Pulse
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import init_home
from tests.factories.federation import running_federation

ROOT = Path(__file__).resolve().parents[2]
HEAVY = frozenset(
    {"alembic", "cv2", "flwr", "google", "grpc", "httpx", "numpy", "onnxruntime", "openpyxl", "PIL", "pydicom"}
    | {"pynetdicom", "ray", "requests", "safetensors", "sqlalchemy", "structlog", "torch"}
    | {"asyncio", "multiprocessing", "yaml", "backports"}
)
_SHOWING_MODULES = """
import atexit, sys
atexit.register(lambda: sys.stderr.write(" ".join({name.partition(".")[0] for name in sys.modules})))
program, *sys.argv = sys.argv[1:]
__import__(program, fromlist=["main"]).main()
"""


def modules_of(program: str, *arguments: object) -> tuple[str, set[str]]:
    """What a program prints, and the packages that its process has loaded when it ends."""
    command = [sys.executable, "-c", _SHOWING_MODULES, program, "program", *map(str, arguments)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return ended.stdout, set(ended.stderr.split())


@pytest.mark.parametrize("program", ["site_node.cli", "coordinator.cli", "coordinator.research.cli"])
def test_help_loads_no_verb(program: str) -> None:
    """The list of verbs is read from their source: every verb is in it, with its help, and none is imported."""
    shown, loaded = modules_of(program, "--help")
    assert "Exit codes" in shown
    assert not loaded & (HEAVY | {"pydantic"})


def test_status_loads_what_it_counts_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home's counts need its ledger, settings, membership and policy: no image, table, network, word list."""
    with running_federation(tmp_path) as federation:
        federation.curator()
        home, member = federation.site("Quick Hospital")
    write_default_policy(home.folder / POLICY_FILE)
    shown, loaded = modules_of("site_node.cli", "--home", home.folder, "status")
    assert f"Quick Hospital, SITEID {member.site_id}" in " ".join(shown.split())
    assert not loaded & HEAVY
    monkeypatch.setattr("site_node.node.open.load_protocol", None)
    assert CliRunner().invoke(site_node.cli.app, ["--home", str(home.folder), "status"]).exit_code == 0


def test_health_loads_next_to_nothing(tmp_path: Path) -> None:
    """It is asked every half minute: at the site for two files, at the coordinator for a call to its port."""
    with running_federation(tmp_path) as federation, init_home(tmp_path / "home", name="Quick Hospital").serving():
        Pulse(tmp_path / "home" / "pulse").beat("waiting")
        _, at_site = modules_of("site_node.cli", "--home", tmp_path / "home", "health")
        _, at_centre = modules_of("coordinator.cli", "--home", federation.home.folder, "health")
    assert not at_site & HEAVY
    assert at_centre & HEAVY <= {"asyncio", "google", "grpc", "multiprocessing"}
