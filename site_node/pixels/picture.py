"""The picture for a person in review: a frame with a line around each text. It shows pixels: PHI."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shared.durable import replacing
from site_node.pixels.box import Box
from site_node.pixels.contrast import Stored, stretched

_LINE = (255, 64, 0)
_COLOUR = 3  # dimensions of a picture in colour
_DARKEST, _BRIGHTEST = 0.5, 99.5  # percentiles; a few odd pixels must not decide what is black and white
_LINES = 400  # the line's width is the longer side divided by this


def draw_picture(stored: Stored, boxes: Iterable[Box], file: Path, photometric: str) -> None:
    """Write `stored` with a line around each of `boxes` as PNG, mode 0600. The folder must exist.

    All is stretched between robust percentiles, and what is in a box between its own values, so that it can be read.
    """
    inverted = photometric == "MONOCHROME1"
    image = Image.fromarray(_seen(stored, inverted=inverted)).convert("RGB")
    boxes = list(boxes)
    for box in boxes:
        text = stretched(stored[box.top : box.bottom, box.left : box.right])
        image.paste(Image.fromarray(255 - text if inverted else text).convert("RGB"), box[:2])
    width = max(1, max(image.size) // _LINES)
    pen = ImageDraw.Draw(image)
    for box in boxes:
        around = (box.left - width, box.top - width, box.right + width, box.bottom + width)
        pen.rectangle(around, outline=_LINE, width=width)
    with replacing(file, mode=0o600) as target:
        image.save(target, format="PNG")


def _seen(stored: Stored, *, inverted: bool) -> NDArray[np.uint8]:
    """Any numbers as 0..255, 0 black; a picture of one value is black. Colours of 8 bits stay."""
    if stored.dtype == np.uint8 and stored.ndim == _COLOUR:
        return stored.astype(np.uint8)
    low, high = np.percentile(stored, (_DARKEST, _BRIGHTEST))
    if high <= low:
        low, high = stored.min(), stored.max()
    grey = stretched(stored.clip(low, high))
    return np.full_like(grey, 255) - grey if inverted else grey
