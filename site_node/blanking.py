"""What a person decided to blank, and what there was to decide on: boxes in frames of the new files.

The pixel stage writes `TextFindings` beside its pictures; review turns them into a `Blanking`, a record of the study;
the next run blanks exactly these boxes, and validation checks the files against the same record.
"""

from typing import NamedTuple, Self

from pydantic import Field, model_validator

from shared.frozen import Frozen
from shared.ids import Uid

BURNED_IN_TEXT = "burned-in-text"  # found in the pixels
SAID_TO_BE_BURNED_IN = "burned-in-annotation"  # BurnedInAnnotation says so
BLANKING_ANSWERS = frozenset({BURNED_IN_TEXT, SAID_TO_BE_BURNED_IN})  # reason codes
FINDINGS_FILE = "boxes.json"  # beside the pictures, in the study's quarantine folder; mode 0600


class BlankBox(Frozen):
    """An upright rectangle of one frame, in pixels of the stored image; `right` and `bottom` lie just outside it."""

    instance: Uid  # the new SOP Instance UID
    frame: int = Field(ge=0)
    left: int = Field(ge=0)
    top: int = Field(ge=0)
    right: int
    bottom: int

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if self.right <= self.left or self.bottom <= self.top:
            raise ValueError("a box has no area")
        return self


class Blanking(Frozen):
    """Every box of a study that is to be blanked."""

    boxes: tuple[BlankBox, ...] = Field(min_length=1)

    def of(self, instance: str) -> tuple[BlankBox, ...]:
        """The boxes of one new file."""
        return tuple(box for box in self.boxes if box.instance == instance)

    def joined(self, previous: "Blanking | None") -> "Blanking":
        """These boxes and those of a previous decision: what was blanked once stays blanked."""
        return Blanking(boxes=tuple(dict.fromkeys((*(previous.boxes if previous else ()), *self.boxes))))


class Sides(NamedTuple):
    """Where a box lies in its frame, in pixels."""

    left: int
    top: int
    right: int
    bottom: int


class FrameWithText(Frozen):
    """One frame in which text was found, and the picture that shows it."""

    picture: str = Field(pattern=r"^[0-9]+\.png$")
    instance: Uid
    frame: int = Field(ge=0)
    boxes: tuple[Sides, ...]

    def blank(self, boxes: tuple[Sides, ...]) -> tuple[BlankBox, ...]:
        """`boxes` clipped at the frame's left and top edges. Raises `ValueError` where nothing of a box is left."""
        return tuple(
            BlankBox(
                instance=self.instance,
                frame=self.frame,
                left=max(0, box.left),
                top=max(0, box.top),
                right=box.right,
                bottom=box.bottom,
            )
            for box in boxes
        )


class TextFindings(Frozen):
    """Every frame of a study in which text was found."""

    frames: tuple[FrameWithText, ...]
