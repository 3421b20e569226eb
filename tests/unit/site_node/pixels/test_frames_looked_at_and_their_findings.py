"""The stage: which frames are searched, and what a finding does to the study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument
from shared.errors.studies import PixelCheckFailed, PixelsUnreadable
from site_node.blanking import SAID_TO_BE_BURNED_IN
from site_node.pixels.box import Box
from site_node.pixels.frame import Frame, Stack
from site_node.pixels.frames import choose_stacks, read_values
from site_node.pixels.inspect import TEXT, UNCHECKED, UNREADABLE, inspect
from site_node.pixels.picture import draw_picture
from site_node.review.boxes import blanking_of
from site_node.study import Deidentified, Ending
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.validated import make_validated

NOTHING: frozenset[str] = frozenset()


class FakeChecker:
    """Gives the same answer for every frame, and remembers the frames."""

    def __init__(self, answer: tuple[Box, ...] | RicordError) -> None:
        self.answer = answer
        self.asked: list[Frame] = []

    def check(self, stack: Stack, pictures: Sequence[Path] = ()) -> list[tuple[Box, ...] | RicordError]:
        self.asked += stack.frames
        for frame, picture in zip(stack.frames, pictures, strict=False):
            if not isinstance(self.answer, RicordError) and (self.answer or frame.declares_text):
                picture.touch(0o600)
        return [self.answer] * len(stack.frames)


@pytest.fixture
def study(tmp_path: Path) -> Deidentified:
    """One de-identified study; the fake checker decides what its pixels show."""
    study = make_validated(tmp_path / "study").study
    for instance in study.instances:
        instance.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(make_dx(), instance.path)
    return study


def test_a_study_without_text_goes_on(study: Deidentified, tmp_path: Path) -> None:
    checker = FakeChecker(())
    assert inspect(study, NOTHING, checker=checker, pictures=tmp_path / "pictures") is None
    assert {frame.path for frame in checker.asked} == {instance.path for instance in study.instances}
    assert not (tmp_path / "pictures" / study.key).exists()


@pytest.mark.parametrize(
    ("answer", "code"),
    [((Box(1, 2, 3, 4),), TEXT), (PixelsUnreadable(), UNREADABLE), (PixelCheckFailed(), UNCHECKED)],
)
def test_text_or_no_answer_stops_the_study_until_a_person_lets_it_pass(
    study: Deidentified, tmp_path: Path, answer: tuple[Box, ...] | RicordError, code: str
) -> None:
    """Fail closed; a release holds for the code that the person saw, and for no other."""
    refused = inspect(study, NOTHING, checker=FakeChecker(answer), pictures=tmp_path)
    assert refused is not None
    assert refused.ending is Ending.QUARANTINED
    assert [reason.code for reason in refused.reasons] == [code]
    assert inspect(study, frozenset({code}), checker=FakeChecker(answer), pictures=tmp_path) is None
    assert inspect(study, frozenset({"another"}), checker=FakeChecker(answer), pictures=tmp_path) is not None


def test_an_image_that_says_it_shows_text_waits_for_a_person(study: Deidentified, tmp_path: Path) -> None:
    """Whatever is found in it, its picture is drawn, and a person names boxes on it or releases it."""
    for instance in study.instances:
        write_file(make_dx(BurnedInAnnotation="YES"), instance.path)
    refused = inspect(study, NOTHING, checker=FakeChecker(()), pictures=tmp_path)
    assert refused is not None
    assert [reason.code for reason in refused.reasons] == [SAID_TO_BE_BURNED_IN]
    folder = tmp_path / study.key
    assert len(list(folder.glob("*.png"))) == len(study.instances)
    Image.new("L", (16, 16)).save(folder / "0.png")  # the fake draws nothing
    (box,) = blanking_of(folder, ["0.png:0,0,5,5"]).boxes
    assert (box.frame, box.right, box.bottom) == (0, 5, 5)
    with pytest.raises(InvalidArgument):
        blanking_of(folder)  # without detected boxes
    released = frozenset({SAID_TO_BE_BURNED_IN})
    assert inspect(study, released, checker=FakeChecker(()), pictures=tmp_path) is None


def test_pictures_are_in_a_folder_of_their_owner(study: Deidentified, tmp_path: Path) -> None:
    inspect(study, NOTHING, checker=FakeChecker((Box(1, 2, 3, 4),)), pictures=tmp_path / "pictures")
    folder = tmp_path / "pictures" / study.key
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(picture.stat().st_mode & 0o777 == 0o600 for picture in folder.iterdir())


def write_all(folder: Path, datasets: list[Dataset]) -> list[Path]:
    return [write_file(dataset, folder / f"{number}") for number, dataset in enumerate(datasets)]


def test_every_slice_is_searched_in_the_order_of_position(tmp_path: Path) -> None:
    """Whatever order the files come in; a stack goes on where the one before it ends."""
    paths = write_all(tmp_path, list(reversed(make_ct(slices=40))))
    stacks = choose_stacks(paths)
    assert [frame.path for stack in stacks for frame in stack.frames] == list(reversed(paths))
    assert [stack.before for stack in stacks] == [None, *(stack.frames[-1] for stack in stacks[:-1])]
    assert [stack.after for stack in stacks] == [*(stack.frames[0] for stack in stacks[1:]), None]


def test_slices_of_another_size_or_series_are_no_neighbours(tmp_path: Path) -> None:
    """Only frames of one shape and series can be compared."""
    paths = write_all(tmp_path, [*make_ct(slices=3), *make_ct(slices=3, rows=16), *make_ct(slices=2, study="other")])
    stacks = choose_stacks(paths)
    assert sorted(len(stack.frames) for stack in stacks) == [2, 3, 3]
    assert {frame.path for stack in stacks for frame in stack.frames} == set(paths)


def test_a_ct_image_that_declares_text_is_searched_by_itself(tmp_path: Path) -> None:
    series = make_ct(slices=6)
    series[3].BurnedInAnnotation = "YES"
    paths = write_all(tmp_path, series)
    assert [Frame(paths[3], 0, declares_text=True)] in [list(stack.frames) for stack in choose_stacks(paths)]


def test_every_frame_of_a_file_is_searched(tmp_path: Path) -> None:
    """Two thousand frames too, in stacks that fit into memory."""
    film = make_dx(rows=16)
    film.NumberOfFrames = 2000
    path = write_file(film, tmp_path / "film")
    frames = [frame for stack in choose_stacks([path]) for frame in stack.frames]
    assert frames == [Frame(path, number) for number in range(2000)]


def test_both_photometric_interpretations_give_the_same_picture(tmp_path: Path) -> None:
    """MONOCHROME1 shows low values bright (PS3.3 C.7.6.3.1.2), and so does the picture for a person."""
    stored = read_values(Frame(write_file(make_dx(), tmp_path / "film"), 0))
    for number in "12":
        draw_picture(stored, (), tmp_path / number, f"MONOCHROME{number}")
    plain, other = (np.asarray(Image.open(tmp_path / number)) for number in "12")
    assert (plain == 255 - other).all()
