"""Which boxes a person wants blanked: those that were found, or those they name on the pictures."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydantic import ValidationError

from shared.errors import InvalidArgument
from site_node.blanking import FOUND_FILE, BlankBox, Blanking, Found, FoundFrame, Sides

_BOX = re.compile(r"(?P<picture>[^:]+):(?P<sides>\d+,\d+,\d+,\d+)")


def found_in(folder: Path) -> Found:
    """What the pixel stage wrote beside its pictures; nothing where it wrote nothing."""
    file = folder / FOUND_FILE
    return Found.model_validate_json(file.read_bytes()) if file.exists() else Found(frames=())


def blanking_of(folder: Path, named: Sequence[str] = ()) -> Blanking:
    """The boxes of `named`, as `0.png:left,top,right,bottom` in pixels of the picture, or all that were found.

    Raises `InvalidArgument` where one of `named` is no box on a picture of the study's folder, or there is none at all.
    """
    found = found_in(folder)
    if not named:
        boxes = tuple(box for frame in found.frames for box in frame.blank(frame.boxes))
        if not boxes:
            raise InvalidArgument(name="--box", problem="no text was found; name what to blank, as 0.png:10,20,200,60")
        return Blanking(boxes=boxes)
    frames = {frame.picture: frame for frame in found.frames}
    return Blanking(boxes=tuple(box for text in named for box in _one(text, frames, folder)))


def _one(text: str, frames: dict[str, FoundFrame], folder: Path) -> tuple[BlankBox, ...]:
    said = _BOX.fullmatch(text.strip())
    frame = frames.get(Path(said["picture"]).name) if said else None
    if said is None or frame is None:
        problem = "give PICTURE:left,top,right,bottom with a picture that `review show` names, as 0.png:10,20,200,60"
        raise InvalidArgument(name="--box", problem=problem)
    sides = Sides(*map(int, said["sides"].split(",")))
    with Image.open(folder / frame.picture) as picture:
        columns, rows = picture.size
    try:
        boxes = frame.blank((sides,))
    except ValidationError:
        boxes = ()
    if not boxes or sides.left >= columns or sides.top >= rows:
        raise InvalidArgument(name="--box", problem=f"the box covers nothing of {frame.picture}")
    return boxes
