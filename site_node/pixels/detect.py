"""Text in pictures that is not a marker: detection at several sizes, reading of what was detected, the allow-list."""

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from site_node.pixels.allow import is_doubtful, is_marker
from site_node.pixels.box import Box
from site_node.pixels.contrast import Picture, Stored, evened, reduced, stretched, thin
from site_node.pixels.difference import outliers, peaks
from site_node.pixels.extent import FARTHEST, HEIGHT, extended, frames_with
from site_node.pixels.models import Models
from site_node.pixels.regions import Region, regions
from site_node.pixels.rules import PixelRules
from site_node.pixels.strokes import stroke_windows

_PART = (384, 64)  # pixels: larger parts of a picture are searched piece by piece, and how far those overlap
_LOOKS = 3  # along a text of which little was seen
_ROUNDS = 2  # of looking around what was seen
_SEEN = 24  # pixels: the height of letters that the detector sees best
_LETTERS = 96  # pixels: higher letters are reduced before they are read


class Line(NamedTuple):
    """One text of a picture, and its reading upright and turned."""

    region: Region
    text: str
    score: float
    turned_score: float

    @property
    def best(self) -> float:
        """The score of the better reading."""
        return max(self.score, self.turned_score)

    def distance(self, other: "Line") -> float:
        """From centre to centre, in pixels."""
        return float(np.linalg.norm(self.region.corners.mean(axis=0) - other.region.corners.mean(axis=0)))


class TextFinder:
    """The models, loaded once, on one thread. Raises `PixelCheckUnavailable` where they do not load."""

    def __init__(self, rules: PixelRules) -> None:
        self._rules = rules
        self._models = Models()

    def find(self, stored: Stored) -> tuple[Box, ...]:
        """Where a picture, `(rows, columns)` or `(rows, columns, 3)`, shows text that is not a marker."""
        return self._unknown(stored, self._texts(stored))

    def find_in_stack(self, stack: Sequence[Stored], wanted: Container[int]) -> list[tuple[Box, ...]]:
        """The same for the wanted frames of a stack, where they stand out of the frames beside them or have none.

        A text that is on several frames is boxed on each of them.
        """
        texts: list[tuple[Box, ...]] = []
        for number, (stored, windows) in enumerate(zip(stack, outliers(stack), strict=True)):
            if number not in wanted:
                texts.append(())
            elif windows is None:
                texts.append(self.find(stored))
            else:
                new = (text for box in windows for text in self._new(stack, number, box))
                texts.append(self._unknown(stored, new, (stack[number - 1], stack[number + 1])))
        everywhere = [dict.fromkeys(boxes) for boxes in texts]
        for number, boxes in enumerate(texts):
            for box in boxes:
                for other in frames_with(stack, number, box, self._rules.detection.stroke):
                    everywhere[other].update({box: None} if other in wanted else {})
        return [tuple(boxes) for boxes in everywhere]

    def _unknown(
        self, stored: Stored, candidates: Iterable[Region], neighbours: Sequence[Stored] = ()
    ) -> tuple[Box, ...]:
        apart: list[Region] = []
        for region in candidates:
            if not any(other.is_same(region) for other in apart):
                apart.append(region)
        if not apart:
            return ()
        texts = [line.region for line in findings(self._read(stored, apart), stored.shape, self._rules)]
        around = [(region, self._box(stored, region, neighbours)) for region in texts]
        boxes = [box for _, box in around]
        for _ in range(_ROUNDS):
            others = [other for region, _ in around for other in self._beside(stored, region)]
            new = ((other, self._box(stored, other, neighbours)) for other in others)
            around = [(other, box) for other, box in new if not _is_within(box, boxes)]
            boxes += [box for _, box in around]
        return tuple(dict.fromkeys(boxes))

    def _box(self, stored: Stored, region: Region, neighbours: Sequence[Stored]) -> Box:
        """A text to its ends and a margin."""
        rule, shorter = self._rules.detection, region
        for _ in range(_LOOKS):
            region = self._longer(stored, shorter, neighbours)
            if region.aspect < shorter.aspect + FARTHEST / 2:
                break
            shorter = region
        return box_around(region.longer(rule.margin_ends, rule.margin_ends), rule.margin, stored.shape)

    def _longer(self, stored: Stored, region: Region, neighbours: Sequence[Stored]) -> Region:
        """A text as far as there are strokes or what no neighbour shows."""
        box = box_around(region, FARTHEST + 1, stored.shape)
        factor = max(1, round(region.height / HEIGHT))
        here, *beside = (
            reduced(each[box.top : box.bottom, box.left : box.right], factor) for each in (stored, *neighbours)
        )
        new = [peaks(beside[0], here, beside[1])] if beside else []
        inks = [np.abs(ink) for ink in (thin(here, self._rules.detection.stroke), *new)]
        flat = [ink if ink.ndim == 2 else ink.max(axis=2) for ink in inks]
        near = region.placed(1, -box.left, -box.top).placed(1 / factor)
        return extended(near, flat).placed(factor, box.left, box.top)

    def _texts(self, stored: Stored) -> Iterator[Region]:
        yield from self._large(stored)
        yield from self._small(stored)

    def _large(self, stored: Stored) -> list[Region]:
        """Texts that show on a small picture, and on one of half its size."""
        side, short = self._rules.detection.side, min(stored.shape[:2])
        if short < side * 3 // 4:
            factor = round(side / short)
            return self._regions(_enlarged(evened(reduced(stored, 1)), factor), 1 / factor)
        factor = max(1, round(short / side))
        rest = reduced(stored, factor)
        return [*self._regions(evened(rest), factor), *self._regions(evened(reduced(rest, 2)), 2 * factor)]

    def _small(self, stored: Stored) -> Iterator[Region]:
        """Texts at full size, where there are strokes."""
        fine = 2 if min(stored.shape[:2]) >= 3 * self._rules.detection.side // 2 else 1
        for window in stroke_windows(reduced(stored, fine)):
            yield from self._thin(stored, Box(*(fine * side for side in window)))

    def _new(self, stack: Sequence[Stored], number: int, box: Box) -> Iterator[Region]:
        """Texts within a part of a frame: of the frame itself, and of what is new in it."""
        before, here, after = (
            reduced(stored[box.top : box.bottom, box.left : box.right], 1) for stored in stack[number - 1 : number + 2]
        )
        yield from self._thin(stack[number], box)
        for picture in (evened(here), stretched(here - before), stretched(peaks(before, here, after))):
            for region in (*self._regions(picture, 1), *self._turned(picture, 1)):
                yield region.placed(1, box.left, box.top)

    def _beside(self, stored: Stored, region: Region) -> Iterator[Region]:
        """What else there is of a text around a part of it: of one that is turned the detector often sees no more."""
        box = box_around(region, region.aspect + 2, stored.shape)
        factor = max(1, round(region.height / _SEEN))
        values = reduced(stored[box.top : box.bottom, box.left : box.right], factor)
        larger = max(1.0, _SEEN / region.height)
        picture = evened(thin(values, self._rules.detection.stroke)) if factor == 1 else evened(values)
        picture = _enlarged(picture, larger)
        for other in (*self._regions(picture, factor / larger), *self._turned(picture, factor / larger)):
            if 0.5 < other.height / region.height < 2:
                yield other.placed(1, box.left, box.top)

    def _thin(self, stored: Stored, box: Box) -> Iterator[Region]:
        """Texts of thin strokes within a part of a picture; where the detector sees none, it looks from the side."""
        rule = self._rules.detection
        for part in box.parts(*_PART):
            values = reduced(stored[part.top : part.bottom, part.left : part.right], 1)
            picture = _enlarged(evened(thin(values, rule.stroke)), rule.enlarged)
            for region in self._regions(picture, 1 / rule.enlarged) or self._turned(picture, 1 / rule.enlarged):
                yield region.placed(1, part.left, part.top)

    def _turned(self, picture: Picture, factor: float) -> list[Region]:
        """The regions of a picture that is turned to the left, where they lie in the picture itself."""
        right = picture.shape[1] * factor
        return [
            region._replace(corners=np.stack((right - region.corners[:, 1], region.corners[:, 0]), axis=1))
            for region in self._regions(np.ascontiguousarray(np.rot90(picture)), factor)
        ]

    def _regions(self, picture: Picture, factor: float) -> list[Region]:
        likely = regions(self._models.text_map(picture), self._rules.detection.box_score)
        return [region.placed(factor) for region in likely]

    def _read(self, stored: Stored, texts: Sequence[Region]) -> tuple[Line, ...]:
        """The texts, each stretched by itself, read upright and turned."""
        crops = [_crop(stored, region) for region in texts]
        upright = self._models.read(crops)
        turned = self._models.read([crop.transpose(Image.Transpose.ROTATE_180) for crop in crops])
        return tuple(
            Line(region, text, score, turned_score)
            for region, (text, score), (_, turned_score) in zip(texts, upright, turned, strict=True)
        )


def _enlarged(picture: Picture, factor: float) -> Picture:
    image = Image.fromarray(picture)
    size = (round(image.width * factor), round(image.height * factor))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def findings(lines: Sequence[Line], shape: tuple[int, ...], rules: PixelRules) -> tuple[Line, ...]:
    """The texts that a person must look at in a picture of `shape`."""
    seen = [line for line in lines if _is_text(line, min(shape[:2]), rules)]
    markers = [line for line in seen if _is_read(line, rules) and is_marker(line.text, rules.allowed)]
    sure = [line for line in markers if not is_doubtful(line.text, rules.allowed)]
    passing = [*sure, *(line for line in markers if sure and _is_at_edge(line, shape, rules.allowed.edge))]
    unknown = [line for line in seen if not any(line is other for other in passing)]
    isolated = [_is_glyph(line, rules) and _is_alone(line, unknown, rules) for line in unknown]
    if sum(isolated) > rules.glyph.most:
        return tuple(unknown)
    return tuple(line for line, alone in zip(unknown, isolated, strict=True) if not alone)


def _is_text(line: Line, short: int, rules: PixelRules) -> bool:
    """Whether a box holds letters; `short` is the picture's short side."""
    height, rule = line.region.height, rules.detection
    if height >= rules.anatomy.height * short:
        return line.best >= rules.anatomy.read_score
    if line.best >= rule.unread_score:
        return height >= rule.smallest_height
    doubts = (line.best < rule.blank_reading) + (line.region.aspect < rule.blank_aspect)
    if doubts == 2:
        sure = line.region.score >= rule.blank_score
    elif doubts and height >= rules.anatomy.low_height * short:
        sure = line.region.score >= rules.anatomy.low_score
    else:
        sure = height >= rule.noise_height or line.region.score >= rule.noise_score
    return sure and height >= rule.unread_height


def _is_read(line: Line, rules: PixelRules) -> bool:
    """Whether a reading is certain and of the whole box: one letter of a long box is not what stands there."""
    return line.score >= rules.detection.read_score and line.region.aspect <= rules.glyph.aspect * len(line.text)


def _is_at_edge(line: Line, shape: tuple[int, ...], part: float) -> bool:
    x, y = line.region.corners.mean(axis=0) / (shape[1], shape[0])
    return bool(min(x, y, 1 - x, 1 - y) <= part)


def _is_glyph(line: Line, rules: PixelRules) -> bool:
    """Whether a text is one letter or the like: no longer than high, and not read for certain as more."""
    return line.region.aspect <= rules.glyph.aspect and not (
        len(line.text) > 1 and line.score >= rules.detection.read_score
    )


def _is_alone(line: Line, unknown: Sequence[Line], rules: PixelRules) -> bool:
    near = rules.glyph.apart
    return all(
        line is other or line.distance(other) > near * min(line.region.height, other.region.height) for other in unknown
    )


def _crop(stored: Stored, region: Region) -> Image.Image:
    """A text upright, and not much larger than the reader's letters."""
    left, top, right, bottom = box_around(region, 0, stored.shape)
    factor = max(1, int(region.height) // _LETTERS)
    values = stored[top:bottom, left:right]
    part = Image.fromarray(stretched(reduced(values, factor) if factor > 1 else values))
    start, along, _, down = (region.corners - np.array((left, top), dtype=np.float32)) / np.float32(factor)
    width, height = (max(2, round(float(np.linalg.norm(side - start)))) for side in (along, down))
    across, below = (along - start) / width, (down - start) / height
    step = (across[0], below[0], start[0], across[1], below[1], start[1])
    return part.transform((width, height), Image.Transform.AFFINE, tuple(map(float, step)), Image.Resampling.BILINEAR)


def _is_within(box: Box, others: Iterable[Box]) -> bool:
    return any(
        other.left <= box.left and other.top <= box.top and box.right <= other.right and box.bottom <= other.bottom
        for other in others
    )


def box_around(region: Region, margin: float, shape: tuple[int, ...]) -> Box:
    """The upright rectangle around a text and a margin of its height, two pixels at least, in a picture of `shape`."""
    by = max(2.0, margin * region.height)
    left, top = np.floor(np.maximum(region.corners.min(axis=0) - by, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(region.corners.max(axis=0) + by, shape[1::-1])).astype(int)
    return Box(int(left), int(top), int(right), int(bottom))
