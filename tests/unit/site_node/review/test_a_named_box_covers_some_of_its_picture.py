"""A person names a box on a picture that shows a frame; one that covers nothing of it is refused, and nothing else."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from shared.errors.inputs import InvalidArgument
from shared.ids import Uid
from site_node.blanking import FINDINGS_FILE, FrameWithText, Sides, TextFindings
from site_node.review.boxes import blanking_of, read_text_findings

COLUMNS, ROWS = 12, 7
FRAMES = tuple(
    FrameWithText(picture=f"{number}.png", instance=Uid(f"1.2.{number}"), frame=number, boxes=boxes)
    for number, boxes in enumerate([(Sides(-2, 0, 5, 3), Sides(4, 4, 6, 6)), (Sides(1, 1, 3, 3),), ()])
)
COORDINATES = st.integers(0, COLUMNS + 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the search for text leaves of three frames, of the last without a box."""
    made = tmp_path_factory.mktemp("quarantine")
    (made / FINDINGS_FILE).write_text(TextFindings(frames=FRAMES).model_dump_json())
    for frame in FRAMES:
        Image.new("L", (COLUMNS, ROWS)).save(made / frame.picture)
    return made


@given(sides=st.tuples(COORDINATES, COORDINATES, COORDINATES, COORDINATES), number=st.integers(0, 2))
@example(sides=(COLUMNS - 1, ROWS - 1, COLUMNS, ROWS), number=0)
@example(sides=(COLUMNS, 0, COLUMNS + 1, 1), number=0)
@example(sides=(COLUMNS + 1, 0, COLUMNS + 2, 1), number=0)
@example(sides=(0, ROWS, 1, ROWS + 1), number=0)
@example(sides=(0, ROWS + 1, 1, ROWS + 2), number=0)
def test_a_box_covers_a_pixel_or_is_refused(folder: Path, sides: tuple[int, int, int, int], number: int) -> None:
    """Whatever its sides are; it is one of the frame that the picture shows."""
    left, top, right, bottom = sides
    text = f" {number}.png:{left},{top},{right},{bottom}"
    if left < min(right, COLUMNS) and top < min(bottom, ROWS):
        [box] = blanking_of(folder, [text]).boxes
        assert (box.instance, box.frame) == (f"1.2.{number}", number)
        assert (box.left, box.top, box.right, box.bottom) == sides
    else:
        with pytest.raises(InvalidArgument, match=rf"covers nothing of {number}\.png"):
            blanking_of(folder, ["2.png:0,0,1,1", text])


@pytest.mark.parametrize("text", ["", "0.png", "0.png:1,2,3", "0.png:1,2,3,4,5", "0.png:-1,2,3,4", "3.png:0,0,1,1"])
def test_what_names_no_box_of_a_picture_is_refused(folder: Path, text: str) -> None:
    """With the form in which one is named."""
    with pytest.raises(InvalidArgument, match=r"as 0\.png:10,20,200,60"):
        blanking_of(folder, [text])


def test_without_names_all_detected_boxes_are_meant(folder: Path, tmp_path: Path) -> None:
    """Of every frame; where there is none, something must be named."""
    boxes = blanking_of(folder).boxes
    assert [(box.frame, box.left, box.right) for box in boxes] == [(0, 0, 5), (0, 4, 6), (1, 1, 3)]
    assert read_text_findings(tmp_path).frames == ()
    with pytest.raises(InvalidArgument, match="no text was found"):
        blanking_of(tmp_path)
