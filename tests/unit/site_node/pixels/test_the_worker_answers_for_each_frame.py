"""The worker answers for each wanted frame: boxes, or that it could not be read; it draws where it was asked to."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors.studies import PixelsUnreadable
from site_node.pixels import worker
from site_node.pixels.box import Box
from site_node.pixels.frame import Frame
from site_node.pixels.frames import CT, choose_stacks
from tests.factories.dicom import make_ct, write_file

BOX = Box(1, 2, 3, 4)
UNREADABLE = {"problem": PixelsUnreadable().code}


class Finder:
    """In place of the models: every wanted frame that is not dark shows a text."""

    def find_in_stack(self, stack: Sequence[Any], wanted: set[int]) -> list[tuple[Box, ...]]:
        return [(BOX,) if place in wanted and values.max() else () for place, values in enumerate(stack)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are drawn; a frame's number is its value, and no number has none."""

    def values(frame: Frame) -> Any:
        return None if frame.number < 0 else np.full((2, 2), frame.number)

    files = list[str]()
    monkeypatch.setattr(worker, "_values", values)
    monkeypatch.setattr(worker, "draw_picture", lambda _values, _boxes, file, _kind: files.append(file.name))
    return files


def answer(*frames: tuple[int, bool], said: bool = False, picture: bool = True, finder: Any = None) -> dict[str, Any]:
    asked = [
        {
            "path": "x", "frame": number, "photometric": "MONOCHROME2", "said": said, "wanted": wanted,
            "picture": f"{place}.png" if picture else "",
        }
        for place, (number, wanted) in enumerate(frames)
    ]  # fmt: skip
    search: Any = finder or Finder()
    return worker._answer(search, {"frames": asked})


def test_frames_that_are_not_wanted_or_not_readable_have_no_boxes(drawn: list[str]) -> None:
    """The wanted ones come in their order; an unreadable one between does not shift them."""
    answers = answer((5, True), (-1, True), (5, False), (0, True), (-1, False), (7, True))
    assert answers == {"frames": [{"boxes": (BOX,)}, UNREADABLE, {"boxes": ()}, {"boxes": (BOX,)}]}
    assert drawn == ["0.png", "5.png"]
    assert answer((-1, True), (-1, True)) == {"frames": [UNREADABLE] * 2}


def test_what_declares_text_is_drawn_though_none_was_seen(drawn: list[str]) -> None:
    """For the person who looks; nothing is drawn where no picture is asked for."""
    answer((0, True), said=True)
    assert drawn == ["0.png"]
    answer((5, True), picture=False)
    assert drawn == ["0.png"]


def test_an_error_of_the_search_quotes_nothing(drawn: list[str]) -> None:
    """It is an answer with a code."""

    class Broken:
        def find_in_stack(self, *_: object) -> None:
            raise ValueError("DOE^JANE")

    assert answer((5, True), finder=Broken()) == {"problem": "pixel-check-failed"}
    assert not drawn


def places(folder: Path, change: Callable[[int, Any], None]) -> list[int]:
    """The slices of a series as they are searched, by their place along the patient."""
    paths = []
    for number, dataset in enumerate(make_ct(slices=4, rows=8)):
        dataset.InstanceNumber = (3, 1, 4, 2)[number]
        change(number, dataset)
        paths.append(write_file(dataset, folder / f"{(2, 0, 3, 1)[number]}.dcm"))
    (stack,) = choose_stacks(paths)
    return [paths.index(frame.path) for frame in stack.frames]


def test_slices_follow_each_other_by_their_place(tmp_path: Path) -> None:
    """Whatever their numbers and names; by number where one of them does not say its place, or says nonsense."""

    def unplaced(number: int, dataset: Any) -> None:
        if number == 2:
            del dataset.ImagePositionPatient

    in_place = places(tmp_path / "a", lambda _, __: None)
    assert in_place in ([0, 1, 2, 3], [3, 2, 1, 0])
    assert places(tmp_path / "b", unplaced) == [1, 3, 0, 2]


def test_every_frame_of_a_slice_that_has_several_is_searched(tmp_path: Path) -> None:
    """They are one stack, apart from the slices."""
    several = make_ct(slices=1, rows=8)[0]
    assert several.SOPClassUID == CT
    several.NumberOfFrames, several.PixelData = 3, several.PixelData * 3
    paths = [
        write_file(several, tmp_path / "several.dcm"),
        write_file(make_ct(slices=1, rows=8)[0], tmp_path / "one.dcm"),
    ]
    stacks = choose_stacks(paths)
    assert sorted(len(stack.frames) for stack in stacks) == [1, 3]
