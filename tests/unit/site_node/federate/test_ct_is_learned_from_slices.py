"""CT studies as slices: which are chosen, what they hold, and a round of training over three sites."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunRefused
from shared.federation.models.registry import build_model, get_state
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import CT, ModelOptions, TrainingTask
from shared.ids import SiteId
from site_node.federate.dataset import load_split
from site_node.federate.plan_words import words_of
from site_node.federate.site import FederateSettings
from site_node.federate.volumes import read_slice, read_volume
from site_node.home.library import load_library
from tests.factories.ct import add_ct, write_slice
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

KEY = SigningKey.generate()
TASK = TrainingTask(
    model=CT,
    model_options=ModelOptions(slices=4),
    image_size=32,
    rounds=1,
    local_epochs=1,
    minimum_cases=1,
    test_share=0.3,
)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / "library").mkdir()
    return tmp_path / "library"


def volume_of(library: Path, slices: int = 4) -> tuple[list[float], int]:
    """The value of each slice of the one study, in HU, and how many files are unreadable."""
    (study,) = load_library(library)
    decoded = read_volume(library / study.study, study, 32, slices)
    return (750 * decoded.images.mean(axis=(1, 2)) - 600).round().tolist(), decoded.unreadable


@pytest.mark.parametrize(
    ("units", "chosen"),
    [
        ([-900, -800, -700, -600, -500, -400, -300], [-900, -700, -500, -300]),
        ([-900, -800], [-900, -900, -800, -800]),
        ([-2000 + 1000, 300, 0, -1000], [-1000, 150, 0, -1000]),
    ],
)
def test_slices_are_taken_evenly_along_the_body(library: Path, units: list[float], chosen: list[float]) -> None:
    """From one end to the other whatever the files are called, some twice where there are few, within the window."""
    add_ct(library, 0, units)
    assert volume_of(library) == (chosen, 0)


def test_a_slice_that_cannot_be_read_is_counted_and_another_stands_for_it(library: Path) -> None:
    """A localizer is none of them; a study without a slice that can be read is left out."""
    add_ct(library, 0, [-900, -800, -700, -600, -500])
    (study,) = load_library(library)
    folder = library / study.study
    names = sorted(each.file for each in study.instances)
    (folder / names[0]).write_bytes(b"no DICOM")  # the highest slice
    write_slice(folder / names[1], 100, place=99, number=9, kind="LOCALIZER")
    assert volume_of(library) == ([-900, -800, -800, -700], 1)
    data = (folder / names[2]).read_bytes()
    (folder / names[2]).write_bytes(data[: len(data) - 100])
    assert volume_of(library) == ([-900, -900, -800, -800], 2)
    for name in names[1:]:
        (folder / name).write_bytes(b"no DICOM")
    assert volume_of(library) == ([], 5)
    assert load_split(library, load_library(library), TASK).patients == 0


def test_what_is_no_ct_is_not_read_and_too_much_is_refused(library: Path) -> None:
    """A radiograph model reads no CT; where the slices need more memory than there may be, the site says so."""
    for number in range(3):
        add_ct(library, number, [-900, -800])
    studies = load_library(library)
    assert load_split(library, studies, TrainingTask(image_size=32)).patients == 0
    needed = 3 * 4 * 32 * 32 * 4
    assert load_split(library, studies, TASK, most_bytes=needed).patients == 3
    with pytest.raises(RunRefused, match="memory"):
        load_split(library, studies, TASK, most_bytes=needed - 1)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)), st.sampled_from(["mean", "max", "attention"]))
def test_a_prediction_is_of_a_set_of_slices(order: list[int], pooling: str) -> None:
    """One logit for each study, whatever the order of its slices, and another where a slice differs."""
    task = TASK.model_copy(update={"model_options": ModelOptions.model_validate({"slices": 4, "pooling": pooling})})
    model = build_model(task).eval()
    studies = torch.randn(2, 1, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(studies)
        assert logits.shape == (2,)
        assert torch.allclose(model(studies[:, :, order]), logits, atol=1e-5)
        assert not torch.allclose(model(studies.flip(4)), logits, atol=1e-7)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 64, "image_size": 128, "model_options": {"slices": 16}},
        {"model_options": {"filters": 16}},
        {"model": "small-cnn", "model_options": {"slices": 8}},
    ],
)
def test_arguments_are_bounded(changes: dict[str, object]) -> None:
    """A batch by its pixels; each network has its own options."""
    task = TrainingTask.model_validate({"model": CT, **changes})
    with pytest.raises(PlanInvalid):
        complete_plan(PlanRequest(purpose="training", training=task), members=(), protocol_digest=PROTOCOL)


@pytest.mark.slow
def test_a_round_is_learned_from_ct(tmp_path: Path) -> None:
    """Over three sites, masked, with its test; the model has learned something, and a person reads what it is of."""
    sites = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=0) for n in range(3)}
    for site in sites.values():
        set_policy(site, minimum_cases=1, minimum_patients=10)
        fill(site)
    nodes = {site.site_id: node for node, site in sites.items()}
    request = PlanRequest(purpose="training", training=TASK)
    plan = complete_plan(request, members=tuple(map(member_of, sites.values())), protocol_digest=PROTOCOL)
    signer = signer_for(KEY, sites.values())
    result = run_training(RosterGrid(LocalGrid(sites), plan, sign_plan(plan, KEY), lambda: nodes, signer), tmp_path)
    (finished,) = result.rounds
    assert not result.refusals
    assert finished.training_images > 10
    assert result.tests[0].pooled.patients > 5
    assert np.abs(load_checkpoint(tmp_path, 1, TASK) - get_state(build_model(TASK))).max() > 1e-4
    assert dict(words_of(plan))["Label"] == "pneumonia, of CT studies, 4 slices of each, whose patients have it"


def fill(site: FederateSettings) -> None:
    """Ten studies, every other one with a dense slice."""
    site.library.mkdir()
    random = np.random.default_rng(int(site.site_id))
    for number in range(10):
        units = random.normal(-800, 20, 4).round().tolist()
        units[2] += 600 * (number % 2)
        add_ct(site.library, number, units, site=SiteId(site.site_id), sick=bool(number % 2))


def test_a_slice_outside_the_window_is_clipped(tmp_path: Path) -> None:
    """Bone and air alike."""
    for units, value in ((1000, 1.0), (-1024, -0.5653), (-600, 0.0)):
        write_slice(tmp_path / "slice.dcm", units, place=0, number=1)
        assert np.allclose(read_slice(tmp_path / "slice.dcm", 32), value, atol=1e-3)
