"""Which boxes a person wants blanked: the detected ones, or those they name on the pictures."""

import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydantic import ValidationError

from shared.errors.inputs import InvalidArgument
from shared.ids import StudyKey
from site_node.blanking import FINDINGS_FILE, BlankBox, Blanking, FrameWithText, Sides, TextFindings
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.records import Records

_BOX = re.compile(r"(?P<picture>[^:]+):(?P<sides>\d+,\d+,\d+,\d+)")


def read_text_findings(folder: Path) -> TextFindings:
    """What the pixel stage wrote beside its pictures; no frames where it wrote nothing, or that is damaged."""
    try:
        return TextFindings.model_validate_json((folder / FINDINGS_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return TextFindings(frames=())


def decided_blanking(home: SiteHome, ledger: Ledger, key: StudyKey) -> Blanking | None:
    """The boxes of a study that persons decided to blank; earlier releases kept them as a record."""
    return ledger.blanking(key) or Records(home).find(key, Blanking)


def blanking_of(folder: Path, named: Sequence[str] = ()) -> Blanking:
    """The boxes of `named`, as `0.png:left,top,right,bottom` in pixels of the picture, or all detected boxes.

    Raises `InvalidArgument` where one of `named` is not a box on a picture in `folder`, or there are no boxes.
    """
    findings = read_text_findings(folder)
    if not named:
        boxes = tuple(box for frame in findings.frames for box in frame.blank(frame.boxes))
        if not boxes:
            raise InvalidArgument(
                name="The box", problem="no text was found; name what to blank, as 0.png:10,20,200,60"
            )
        return Blanking(boxes=boxes)
    frames = {frame.picture: frame for frame in findings.frames}
    return Blanking(boxes=tuple(box for text in named for box in _parse_box(text, frames, folder)))


def _parse_box(text: str, frames: dict[str, FrameWithText], folder: Path) -> tuple[BlankBox, ...]:
    match = _BOX.fullmatch(text.strip())
    if match is None or (frame := frames.get(Path(match["picture"]).name)) is None:
        problem = "give PICTURE:left,top,right,bottom with a picture that `review show` names, as 0.png:10,20,200,60"
        raise InvalidArgument(name="The box", problem=problem)
    sides = Sides(*map(int, match["sides"].split(",")))
    with Image.open(folder / frame.picture) as picture:
        columns, rows = picture.size
    try:
        boxes = frame.blank((sides,))
    except ValidationError:
        boxes = ()
    if not boxes or sides.left >= columns or sides.top >= rows:
        raise InvalidArgument(name="The box", problem=f"it covers nothing of {frame.picture}")
    return boxes
