"""Text in one picture that is not a marker: detection, reading of what was detected, and the allow-list.

The models are those of `rapidocr-onnxruntime` (PP-OCRv4, in its wheel); all use of it is wrapped here.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import PixelCheckUnavailable
from site_node.pixels.allow import is_marker
from site_node.pixels.box import Box
from site_node.pixels.rules import PixelRules

Picture = NDArray[np.uint8]
_PACKAGE = "rapidocr-onnxruntime"


class Line(NamedTuple):
    """One text of a picture: its corners `(4, 2)` clockwise from the top left, and its reading upright and turned."""

    corners: NDArray[np.float32]
    text: str
    score: float
    turned_score: float

    @property
    def box(self) -> Box:
        """The upright rectangle around it."""
        left, top = np.floor(self.corners.min(axis=0)).astype(int)
        right, bottom = np.ceil(self.corners.max(axis=0)).astype(int)
        return Box(int(left), int(top), int(right), int(bottom))

    @property
    def height(self) -> float:
        """The shorter side in pixels: the height of its letters, whichever way they run."""
        return min(_length(self.corners, 0, 1), _length(self.corners, 1, 2))

    @property
    def aspect(self) -> float:
        """The longer side by the shorter."""
        return max(_length(self.corners, 0, 1), _length(self.corners, 1, 2)) / max(self.height, 1.0)

    def distance(self, other: "Line") -> float:
        """From centre to centre, in pixels."""
        return float(np.linalg.norm(self.corners.mean(axis=0) - other.corners.mean(axis=0)))


class TextFinder:
    """The models, loaded once, on one thread. Raises `PixelCheckUnavailable` where they are not installed."""

    def __init__(self, rules: PixelRules) -> None:
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise PixelCheckUnavailable(package=_PACKAGE) from error
        self._rules = rules
        self._engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)
        self._engine.text_det.limit_side_len = rules.detection.upscale_below
        self._engine.text_det.postprocess_op.box_thresh = rules.detection.box_score

    def find(self, picture: Picture) -> tuple[Box, ...]:
        """Where `picture`, `(rows, columns)` or `(rows, columns, 3)`, shows text that is not a marker."""
        return tuple(line.box for line in findings(self.lines(picture), min(picture.shape[:2]), self._rules))

    def lines(self, picture: Picture) -> tuple[Line, ...]:
        """Every text detected, read from the crops at full size."""
        colour = np.ascontiguousarray(np.dstack([picture] * 3) if picture.ndim == 2 else picture[..., ::-1])
        factor = 2 if min(colour.shape[:2]) >= self._rules.detection.halve_from else 1
        detected, _ = self._engine.text_det(_reduced(colour, factor))
        if detected is None or len(detected) == 0:
            return ()
        corners = np.asarray(detected, dtype=np.float32) * factor
        crops = self._engine.get_crop_img_list(colour, corners)
        upright, turned = self._read(crops), self._read([np.ascontiguousarray(crop[::-1, ::-1]) for crop in crops])
        return tuple(
            Line(quad, text, score, turned_score)
            for quad, (text, score), (_, turned_score) in zip(corners, upright, turned, strict=True)
        )

    def _read(self, crops: list[Picture]) -> list[tuple[str, float]]:
        readings, _ = self._engine.text_rec(crops)
        return [(str(text), float(score)) for text, score in readings]


def findings(lines: Sequence[Line], short: int, rules: PixelRules) -> tuple[Line, ...]:
    """The texts that a person must look at in a picture whose short side is `short`."""
    unknown = [line for line in lines if is_finding(line, short, rules)]
    isolated = [_is_glyph(line, rules) and _is_alone(line, unknown, rules) for line in unknown]
    if sum(isolated) > rules.glyph.most:
        return tuple(unknown)
    return tuple(line for line, alone in zip(unknown, isolated, strict=True) if not alone)


def is_finding(line: Line, short: int, rules: PixelRules) -> bool:
    """Whether a person must look at a text; `short` is the picture's short side."""
    if line.height < rules.detection.smallest_height:
        return False
    if line.height >= rules.anatomy.height * short and max(line.score, line.turned_score) < rules.anatomy.read_score:
        return False
    return line.score < rules.detection.read_score or not is_marker(line.text, rules.allowed)


def _is_glyph(line: Line, rules: PixelRules) -> bool:
    """Whether a text is one letter or the like: no longer than high, and not read for certain as more."""
    return line.aspect <= rules.glyph.aspect and not (len(line.text) > 1 and line.score >= rules.detection.read_score)


def _is_alone(line: Line, unknown: Sequence[Line], rules: PixelRules) -> bool:
    near = rules.glyph.apart * line.height
    return all(line is other or line.distance(other) > near for other in unknown)


def _reduced(picture: Picture, factor: int) -> Picture:
    return picture if factor == 1 else cast("Picture", np.asarray(Image.fromarray(picture).reduce(factor)))


def _length(corners: NDArray[np.float32], start: int, end: int) -> float:
    return float(np.linalg.norm(corners[start] - corners[end]))
