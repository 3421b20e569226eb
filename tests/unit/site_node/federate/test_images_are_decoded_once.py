"""A study's images are decoded once for each size, an unreadable one ends nothing, and what is withdrawn is gone."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.federation.task import TrainingTask
from shared.ids import SiteId
from site_node.federate import dataset, decoded
from site_node.federate.dataset import load_split, read_frontal
from site_node.home.library import decoded_folder, load_library, remove_study
from tests.factories.site_homes import fill_library

TASK = TrainingTask(image_size=32)
STUDIES = 6


@pytest.fixture
def library(tmp_path: Path) -> Path:
    fill_library(tmp_path / "library", SiteId("123456"), STUDIES)
    return tmp_path / "library"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded."""
    files: list[Path] = []

    def reading(file: Path) -> object:
        files.append(file)
        return read_frontal(file)

    monkeypatch.setattr(dataset, "read_frontal", reading)
    return files


def images_of(library: Path, task: TrainingTask = TASK) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    split = load_split(library, load_library(library), task)
    return np.concatenate([split.training.images, split.validation.images])


def test_the_second_round_decodes_nothing(library: Path, read: list[Path]) -> None:
    """And has the same images; another size has its own, and only the two sizes used last are kept."""
    first = images_of(library)
    assert len(read) == STUDIES
    assert (images_of(library) == first).all()
    assert len(read) == STUDIES
    for size in (48, 64):
        images_of(library, TrainingTask(image_size=size))
    assert len(read) == 3 * STUDIES
    images_of(library, TrainingTask(image_size=64))
    assert len(list(decoded_folder(library).iterdir())) == 2


def test_what_vanishes_meanwhile_ends_no_training(library: Path) -> None:
    """Another training, or a withdrawal, deletes a listed file or size before it is looked at."""
    first = images_of(library)
    (decoded_folder(library) / "32" / "vanished.0.npy").symlink_to("nowhere")
    (decoded_folder(library) / "48").symlink_to("nowhere")
    assert (images_of(library) == first).all()


def test_a_changed_study_is_decoded_again(library: Path, read: list[Path]) -> None:
    images_of(library)
    study = load_library(library)[0]
    changed = study.model_copy(
        update={"instances": tuple(each.model_copy(update={"sha256": "1" * 64}) for each in study.instances)}
    )
    (library / study.study / "study.json").write_text(changed.model_dump_json())
    images_of(library)
    assert len(read) == STUDIES + 1
    assert len(list(decoded_folder(library).rglob("*.npy"))) == STUDIES


def test_an_unreadable_study_is_counted_and_left_out(library: Path, read: list[Path]) -> None:
    """Each time, and decoded once."""
    study = load_library(library)[0]
    (library / study.study / study.instances[0].file).write_bytes(b"cut")
    for _ in range(2):
        assert len(images_of(library)) == STUDIES - 1
    assert len(read) == STUDIES
    assert [kept.name.split(".")[1] for kept in decoded_folder(library).rglob("*.npy")].count("1") == 1


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", bytes(200)])
def test_a_damaged_file_is_made_again(library: Path, read: list[Path], damage: bytes) -> None:
    first = images_of(library)
    next(decoded_folder(library).rglob("*.npy")).write_bytes(damage)
    assert (images_of(library) == first).all()
    assert len(read) == STUDIES + 1


def test_a_study_that_left_the_library_leaves_no_image(library: Path) -> None:
    """At once by `remove_study`, and at the next use however it left."""
    images_of(library)
    first, second, *_ = load_library(library)
    shutil.rmtree(library / first.study)
    assert len(images_of(library)) == STUDIES - 1
    assert len(list(decoded_folder(library).rglob("*.npy"))) == STUDIES - 1
    remove_study(library, second.study)
    assert not decoded_folder(library).exists()
    assert len(images_of(library)) == STUDIES - 2


def test_what_is_kept_is_bounded(library: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound a study is decoded each time."""
    monkeypatch.setattr(decoded, "LARGEST", 3 * (32 * 32 * 4 + 128))
    for _ in range(2):
        assert len(images_of(library)) == STUDIES
    assert len(read) == STUDIES + STUDIES - 3
    assert len(list(decoded_folder(library).rglob("*.npy"))) == 3
