"""What must go of an image goes, and what must stay stays: every profile judged as MIDI-B judges."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from shared.protocol.loader import load_profile
from tests.factories.answer_key import Action, KeyedImage, make_answer_key
from tests.factories.answer_score import Mapped, holds, score

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
LEAST = 0.9995  # of the expectations, under `tcia`
SEED = 1


def failing(image: KeyedImage, new: Dataset | None, mapped: Mapped | None = None) -> set[Action]:
    """The types of action that do not hold for some element of a new image."""
    mapped = mapped or Mapped()
    return {expectation.action for expectation in image.key if not holds(expectation, image, new, mapped)}


def test_the_key_has_every_type_of_action() -> None:
    """The set has 48 images or more with every type of action, and the same seed draws the same set."""
    images = [image for study in make_answer_key(SEED) for image in study.images]
    assert len(images) >= 48
    assert {expectation.action for image in images for expectation in image.key} == set(Action)
    again = [image for study in make_answer_key(SEED) for image in study.images]
    assert [(image.key, image.dataset) for image in images] == [(image.key, image.dataset) for image in again]


def test_each_type_of_action_is_judged() -> None:
    """An untouched image keeps what must go; an empty one and a missing one lose what must stay."""
    image = next(image for study in make_answer_key(SEED) for image in study.images if image.burned_in)
    hiding = {Action.TEXT_REMOVED, Action.DATE_SHIFTED, Action.UID_CHANGED, Action.PIXELS_HIDDEN}
    assert failing(image, image.dataset) == hiding
    empty = Dataset()
    empty.PixelData = np.zeros(len(image.dataset.PixelData), np.uint8).tobytes()
    assert failing(image, empty) == {
        Action.TAG_RETAINED, Action.TEXT_NOT_NULL, Action.TEXT_RETAINED, Action.PIXELS_RETAINED,
    }  # fmt: skip
    stays = set(Action) - hiding | {Action.PIXELS_HIDDEN}
    assert failing(image, None) == stays


def test_an_identifier_that_becomes_two_is_judged() -> None:
    """A patient or a UID that becomes something else in another image, or the same as another, is not consistent."""
    image = make_answer_key(SEED)[0].images[0]
    renamed = deepcopy(image.dataset)
    renamed.PatientID, renamed.StudyInstanceUID = "other", "2.25.9"
    for first, second in ((image.dataset, renamed), (renamed, image.dataset)):
        mapped = Mapped()
        failing(image, first, mapped)
        assert {Action.PATIENT_CONSISTENT, Action.UID_CONSISTENT} <= failing(image, second, mapped)


@settings(max_examples=2, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
@example(seed=SEED)
def test_tcia_meets_the_key(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Under `tcia`, at least 99.95 % of what the key expects holds, whatever the seed."""
    result = score(make_answer_key(seed), load_profile("tcia"), tmp_path_factory.mktemp("key"))
    assert result.share >= LEAST, result.table()


def test_nothing_but_texts_fails_the_key(tmp_path: Path) -> None:
    """Under every profile dates, UIDs, patients and pixels are as the key expects them, to the last one."""
    for name in ("tcia", "ricord", "ricord-2020"):
        kinds = ("CT", "MR", "DX", "CR") if name == "tcia" else ("CT", "DX", "CR")
        result = score(make_answer_key(SEED, kinds=kinds), load_profile(name), tmp_path / name)
        texts = {Action.TEXT_REMOVED, Action.TEXT_RETAINED}
        assert {action for action, _ in result.failed} <= texts, result.table()
