"""Networks by name: built the same everywhere, from a wheel only by its digest, and their norm layers are known."""

import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors.federation import PlanInvalid
from shared.federation.models.packages import package_digest
from shared.federation.models.registry import build_model, get_state, norm_places, set_state
from shared.federation.plan import Member, PlanRequest, check_plan, complete_plan
from shared.federation.task import MONAI_NAMES, ModelOptions, TrainingTask
from shared.ids import Sha256, SiteId
from tests.factories.summing import sites

CODE = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self, image_size):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1))
    def forward(self, images):
        return self.scale * images.mean(dim=(1, 2, 3))

class Map(Mean):
    def forward(self, images):
        return images
"""


def check(**changes: object) -> None:
    members = tuple(
        Member(site_id=SiteId(site), fingerprint=f"SHA256:{number:043d}") for number, site in enumerate(sites(3))
    )
    request = PlanRequest(purpose="training", training=TrainingTask.model_validate(changes))
    check_plan(complete_plan(request, members=members, protocol_digest=Sha256("0" * 64)))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel as pip installs it."""
    info = tmp_path / "example_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ricord.models]\nmean = example_nets:Mean\nmap = example_nets:Map\n")
    (info / "INSTALLER").write_text("pip\n")
    (tmp_path / "example_nets.py").write_text(CODE)
    names = ("METADATA", "entry_points.txt", "INSTALLER", "RECORD")
    (info / "RECORD").write_text(
        "".join(f"{name},,\n" for name in (*(f"{info.name}/{n}" for n in names), "example_nets.py"))
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "example_nets", raising=False)
    return tmp_path


def test_a_network_of_a_wheel_is_built_by_name_and_digest(package: Path) -> None:
    """From the task's seed; its state travels as any other's."""
    digest = package_digest(distribution("example-nets"))
    task = TrainingTask(model="example-nets:mean", package=digest, seed=4)
    check(model=task.model, package=digest)
    first, second = build_model(task), build_model(task)
    assert get_state(first) == get_state(second)
    set_state(second, np.array([2.5], np.float32))
    assert second(torch.ones(3, 1, 64, 64)).tolist() == [2.5] * 3


def test_another_version_of_a_wheel_is_refused(package: Path) -> None:
    """Any file that changed, but not what the installer left; nor is one that is missing, or lies elsewhere."""
    digest = package_digest(distribution("example-nets"))
    (package / "example_nets-1.0.dist-info" / "INSTALLER").write_text("uv\n")
    assert package_digest(distribution("example-nets")) == digest
    (package / "example_nets.py").write_text(CODE + "\n")
    with pytest.raises(PlanInvalid) as caught:
        build_model(TrainingTask(model="example-nets:mean", package=digest))
    assert "another version" in caught.value.public
    (package / "example_nets.py").unlink()
    with pytest.raises(PlanInvalid):
        package_digest(distribution("example-nets"))
    with (package / "example_nets-1.0.dist-info" / "RECORD").open("a") as record:
        record.write("example.pth,,\n")
    with pytest.raises(PlanInvalid):
        package_digest(distribution("example-nets"))


def test_a_missing_file_is_noticed_whichever_library_lists_them(package: Path) -> None:
    """One of them lists only the files that are there; other packages may have put it in the standard one's place."""
    backport = pytest.importorskip("importlib_metadata")
    (package / "example_nets.py").unlink()
    with pytest.raises(PlanInvalid):
        package_digest(backport.distribution("example-nets"))


@pytest.mark.parametrize("name", ["example-nets:map", "example-nets:none", "missing:mean"])
def test_what_is_no_classifier_of_a_wheel_is_refused(package: Path, name: str) -> None:
    """No such package, no such entry point, or an answer of another shape."""
    with pytest.raises(PlanInvalid):
        build_model(TrainingTask(model=name, package=package_digest(distribution("example-nets"))))


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "example-nets:mean"},
        {"model": "small-cnn", "package": "0" * 64},
        {"model": "monai:DenseNet121", "package": "0" * 64},
        {"model": "os:system/..", "package": "0" * 64},
        {"model": "small-cnn", "model_options": {"filters": 16}},
        {"model": "monai:DenseNet121", "model_options": {"filters": 16}},
    ],
)
def test_a_plan_with_a_model_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    """A wheel without its digest, a digest without a wheel, no name of an entry point, an option that is none."""
    with pytest.raises(PlanInvalid):
        check(**changes)
    check(model="monai:SegResNet", model_options={"filters": 16, "dropout": 0.2})


def test_norm_layers_are_those_of_the_model() -> None:
    """Scales and offsets, of batch norms the running statistics too; counters of batches do not travel."""
    group, batch = (build_model(TrainingTask(norm=norm)) for norm in ("group", "batch"))
    assert norm_places(group).sum() == 2 * (16 + 32 + 64)
    assert norm_places(batch).sum() == 4 * (16 + 32 + 64)
    before = get_state(batch)
    batch.train()
    batch(torch.randn(4, 1, 64, 64))
    changed = get_state(batch) != before
    assert changed.any()
    assert not changed[~norm_places(batch)].any()
    assert "num_batches_tracked" in "".join(batch.state_dict())


@pytest.mark.skipif(find_spec("monai") is None, reason="MONAI is not installed (extra `models`)")
@pytest.mark.parametrize("name", MONAI_NAMES)
@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_network_of_monai_gives_one_logit_and_travels(name: str, norm: str) -> None:
    """Built twice from one seed it is equal, and it has norm layers of the kind that was asked for."""
    task = TrainingTask.model_validate({"model": name, "norm": norm, "image_size": 32, "seed": 1})
    model = build_model(task)
    assert model.eval()(torch.zeros(2, 1, 32, 32)).shape == (2,)
    assert (get_state(build_model(task)) == get_state(model)).all()
    kinds = {type(layer).__name__ for layer in model.modules() if "Norm" in type(layer).__name__}
    assert kinds == {"GroupNorm" if norm == "group" else "BatchNorm2d"}


@pytest.mark.skipif(find_spec("monai") is not None, reason="MONAI is installed")
def test_without_monai_the_reason_names_the_extra() -> None:
    """It ends no process: the run fails with a sentence."""
    with pytest.raises(PlanInvalid) as caught:
        build_model(TrainingTask(model="monai:SegResNet", model_options=ModelOptions(filters=16)))
    assert "models" in caught.value.public
