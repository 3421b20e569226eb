"""`ricord-research simulate` tries a plan over folders, without a coordinator or a home, and names what is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.research.cli import app
from coordinator.research.plans import Evaluation, Training
from coordinator.research.simulation import site_ids
from shared.crypto.signing import SigningKey
from shared.errors.base import RicordError
from shared.errors.federation import PlanInvalid
from shared.ids import RunId, SiteId
from tests.factories.site_homes import make_site, set_policy

KEY = SigningKey.generate()
PLAN = """\
purpose = "training"
aim = "Try it."
[training]
image_size = 32
rounds = 1
local_epochs = 1
minimum_cases = 1
validation_share = 0.3
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "plan.toml").write_text(PLAN)
    return tmp_path / "plan.toml"


@pytest.mark.slow
def test_it_writes_what_a_run_would(plan: Path, tmp_path: Path) -> None:
    """The plan, its figures and the model lie in the folder, for hospitals by any name."""
    sites = [make_site(tmp_path / name, f"{200_000 + place}", KEY, images=24) for place, name in enumerate("abc")]
    set_policy(sites[0], minimum_cases=1)
    folders = [option for name in "abc" for option in ("--site", f"{name}={tmp_path / name}")]
    arguments = ["simulate", str(plan), *folders, "--to", str(tmp_path / "out"), "--policy", str(sites[0].policy)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    plots = [f"{name}.{kind}" for name in ("calibration", "forest", "learning", "roc") for kind in ("png", "svg")]
    assert written == sorted(["card.md", "metrics.csv", "metrics.json", "model.safetensors", "plan.json", *plots])
    [finished] = json.loads((tmp_path / "out" / "metrics.json").read_bytes())["rounds"]
    assert [site["site_id"] for site in finished["sites"]] == ["100001", "100002", "100003"]


@pytest.mark.parametrize("sites", [["a"], ["a="], ["=x"], ["a=x", "a=y"]])
def test_a_folder_has_a_name(plan: Path, tmp_path: Path, sites: list[str]) -> None:
    """Anything but one NAME=FOLDER for each hospital is refused before anything starts."""
    folders = [option for text in sites for option in ("--site", text)]
    outcome = CliRunner().invoke(app, ["simulate", str(plan), *folders, "--to", str(tmp_path / "out")])
    assert isinstance(outcome.exception, RicordError)
    assert "--site" in outcome.exception.public


def test_a_siteid_names_itself() -> None:
    """Other names stand for made-up SITEIDs, in their order."""
    assert site_ids(["north", "234567", "south"]) == [SiteId("100001"), SiteId("234567"), SiteId("100002")]
    assert site_ids(["100001", "north"]) == [SiteId("100001"), SiteId("100002")]


def test_a_plan_without_an_aim_is_not_tried(tmp_path: Path) -> None:
    """What could not be submitted is not simulated."""
    with pytest.raises(PlanInvalid, match="aim"):
        Training(aim=" ").simulate({"a": tmp_path, "b": tmp_path, "c": tmp_path})


def test_an_evaluation_is_not_simulated(tmp_path: Path) -> None:
    """The model of a run lies at the coordinator, and a simulation sends nothing."""
    with pytest.raises(PlanInvalid, match="not on this machine"):
        Evaluation(aim="Why?", run=RunId.random()).simulate({"a": tmp_path, "b": tmp_path, "c": tmp_path})
