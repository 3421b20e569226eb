"""The picture for a person in review: a frame with a line around each text. It shows pixels: PHI."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from shared.durable import replacing
from site_node.pixels.box import Box

_COLOUR = (255, 64, 0)
_LINES = 400  # the line's width is the longer side divided by this


def draw_picture(pixels: NDArray[np.uint8], boxes: Iterable[Box], file: Path) -> None:
    """Write `pixels` with a line around each of `boxes` as PNG, mode 0600. The folder must exist."""
    image = Image.fromarray(pixels).convert("RGB")
    width = max(1, max(image.size) // _LINES)
    pen = ImageDraw.Draw(image)
    for box in boxes:
        around = (box.left - width, box.top - width, box.right + width, box.bottom + width)
        pen.rectangle(around, outline=_COLOUR, width=width)
    with replacing(file, mode=0o600) as target:
        image.save(target, format="PNG")
