"""Local training's parts: the AUC, the images as they are read, the split by patient."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.federation import RunRefused
from shared.errors.inputs import InvalidArgument
from shared.errors.studies import PixelsUnreadable
from shared.federation.models.registry import build_model, get_state
from shared.federation.task import TrainingTask
from shared.ids import SiteId
from site_node.federate.dataset import load_split, read_frontal, standardise
from site_node.federate.training import Samples, auc, clipped, evaluate, train
from site_node.home.library import load_library
from tests.factories.site_homes import fill_library, radiograph, write_radiograph

TASK = TrainingTask(image_size=32, validation_share=0.3)
cases = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=1, max_size=30)


@given(cases)
def test_auc_is_the_share_of_pairs_ranked_right(pairs: list[tuple[int, int]]) -> None:
    """Equal to counting every pair of a positive and a negative, ties as a half; none without both classes."""
    labels = np.array([label for label, _ in pairs])
    scores = np.array([float(score) for _, score in pairs])
    wins = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    area = auc(labels, scores)
    assert area == (pytest.approx(sum(wins) / len(wins)) if wins else None)


def test_a_standardised_image_has_mean_0_and_deviation_1_whatever_the_scanner() -> None:
    """Gain and offset of a scanner change nothing."""
    image = radiograph(np.random.default_rng(1), sick=True).astype(np.float32)
    small = standardise(image, 32)
    assert small.shape == (32, 32)
    assert abs(float(small.mean())) < 1e-4
    assert float(small.std()) == pytest.approx(1, abs=1e-4)
    assert np.allclose(standardise(image * 7 + 300, 32), small, atol=1e-3)
    assert not standardise(np.full((50, 60), 4.0, np.float32), 32).any()


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    """The same film stored the other way round reads the same (up to its offset)."""
    image = radiograph(np.random.default_rng(2), sick=False)
    write_radiograph(tmp_path / "plain.dcm", image)
    write_radiograph(tmp_path / "inverted.dcm", (4095 - image).astype(np.uint16), interpretation="MONOCHROME1")
    inverted, plain = read_frontal(tmp_path / "inverted.dcm"), read_frontal(tmp_path / "plain.dcm")
    assert inverted is not None
    assert plain is not None
    assert np.allclose(standardise(inverted, 32), standardise(plain, 32), atol=1e-4)


def test_laterals_other_modalities_and_broken_files_are_left_out(tmp_path: Path) -> None:
    """Only frontal CR and DX are learned from."""
    image = radiograph(np.random.default_rng(3), sick=False)
    write_radiograph(tmp_path / "lateral.dcm", image, view="LL")
    write_radiograph(tmp_path / "ct.dcm", image, modality="CT")
    assert all(read_frontal(file) is None for file in tmp_path.iterdir())
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(PixelsUnreadable):
        read_frontal(tmp_path / "text.dcm")


def test_pixels_that_are_not_numbers_make_a_file_unreadable(tmp_path: Path) -> None:
    """One of them would be the whole model's."""
    write_radiograph(tmp_path / "film.dcm", radiograph(np.random.default_rng(3), sick=False))
    dataset = pydicom.dcmread(tmp_path / "film.dcm")
    pixels = dataset.pixel_array.astype(np.float32)
    pixels[0, 0] = np.nan
    del dataset.PixelData
    dataset.FloatPixelData, dataset.BitsAllocated = pixels.tobytes(), 32
    del dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.save_as(tmp_path / "floats.dcm")
    with pytest.raises(PixelsUnreadable):
        read_frontal(tmp_path / "floats.dcm")


def test_the_split_is_by_patient_and_stays(tmp_path: Path) -> None:
    """Read twice the split is the same; every image is in one part; a plan without a test changes no validation."""
    fill_library(tmp_path / "library", SiteId("123456"), 30)
    library = tmp_path / "library"
    first, second = (load_split(library, load_library(library), TASK) for _ in range(2))
    assert (first.training.images == second.training.images).all()
    parts = (first.training, first.validation, first.test)
    assert sum(len(part.labels) for part in parts) == sum(sum(part.cases) for part in parts) == first.patients == 30
    assert sorted(number for part in parts for number in part.patients.tolist()) == list(range(30))
    assert all(0 < len(part.labels) < 25 for part in parts)
    other = load_split(library, load_library(library), TASK.model_copy(update={"test_share": 0.0}))
    assert (first.validation.images == other.validation.images).all()
    assert not len(other.test.labels)


def test_a_study_without_the_label_is_skipped(tmp_path: Path) -> None:
    """Nothing is guessed: no such field, no image."""
    fill_library(tmp_path / "library", SiteId("123456"), 4)
    library = tmp_path / "library"
    split = load_split(library, load_library(library), TASK.model_copy(update={"label": "covid_status"}))
    assert len(split.training.labels) == len(split.validation.labels) == 0
    with pytest.raises(RunRefused):
        train(build_model(TASK), split.training, TASK, server_round=1)
    assert evaluate(build_model(TASK), split.validation).auc is None


def test_a_strong_proximal_term_keeps_the_model_near_its_start() -> None:
    """FedProx: the larger mu, the less a round moves the state."""
    random = np.random.default_rng(4)
    samples = Samples(random.normal(size=(16, 32, 32)).astype(np.float32), np.array([0, 1] * 8), np.arange(16))
    moved = []
    for mu in (0.0, 50.0):
        task = TASK.model_copy(update={"proximal_mu": mu, "local_epochs": 3, "optimizer": "sgd", "strategy": "fedprox"})
        model = build_model(task)
        start = get_state(model)
        train(model, samples, task, server_round=1)
        moved.append(float(np.abs(get_state(model) - start).sum()))
    assert moved[1] < moved[0]


def test_a_change_is_scaled_to_the_plans_norm() -> None:
    """A change within the norm stays as it is; a larger one keeps its direction; values that are no numbers stop it."""
    start, change = np.ones(3, np.float32), np.array([3, 0, 4], np.float32)
    assert (clipped(start + change, start, 5.0) == start + change).all()
    assert np.allclose(clipped(start + change, start, 1.0), start + change / 5)
    with pytest.raises(InvalidArgument):
        clipped(start * np.float32(np.nan), start, 1.0)
