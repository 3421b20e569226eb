"""What the files of a series have in common: runs of elements that are the same bytes in one file after another.

A file that has the shape of an earlier one is compared run by run, and only the elements that differ are parsed. The
elements of every run were parsed one by one before, so nothing is taken on trust.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from site_node.dicom.elements import PIXEL_DATA, ElementRun, Elements

_SHAPES = 8  # remembered of a study; a series has one or two
_HEADER = 6  # bytes: tag and value representation
_PREAMBLE = 128
Parse = Callable[[int], tuple[ElementRun, int]]  # place of an element -> the element and the place after it


class _Slot(NamedTuple):
    """A run that must be there as it is, or an element of a certain tag with any value."""

    run: ElementRun | None
    header: bytes


class _Shape:
    """Files with the same elements in the same order."""

    def __init__(self, runs: Sequence[ElementRun]) -> None:
        self._runs = list(runs)
        self._open: set[int] = set()  # positions of elements that differ between files
        self.last = max(runs[-1].elements)
        self._slots = list(self._join())

    def learn(self, runs: Sequence[ElementRun]) -> None:
        """Add another file of this shape: where it differs, values are open from now on."""
        self._open |= {
            place for place, (old, new) in enumerate(zip(self._runs, runs, strict=True)) if old.raw != new.raw
        }
        self._runs = list(runs)
        self._slots = list(self._join())

    def match(self, data: bytes, place: int, parse: Parse) -> tuple[list[ElementRun], int] | None:
        """The runs of a file that has this shape, and the place after them."""
        runs: list[ElementRun] = []
        for run, header in self._slots:
            if run is None:
                if not data.startswith(header, place):
                    return None
                element, place = parse(place)
                runs.append(element)
            else:
                if not data.startswith(run.raw, place):
                    return None
                runs.append(run)
                place += len(run.raw)
        return runs, place

    def _join(self) -> Iterator[_Slot]:
        for is_open, group in groupby(enumerate(self._runs), key=lambda numbered: numbered[0] in self._open):
            runs = [run for _, run in group]
            if is_open:
                yield from (_Slot(None, run.raw[:_HEADER]) for run in runs)
            else:
                yield _Slot(_joined_run(runs), b"")


class ShapeCache:
    """The shapes of one study's files."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Shape] = {}

    def match(self, data: bytes, place: int, parse: Parse) -> tuple[list[ElementRun], int, int] | None:
        """The runs of a file that has a known shape, the place after them and the last tag; None if it has none."""
        for key, shape in reversed(self._shapes.items()):
            matched = shape.match(data, place, parse)
            if matched is not None:
                if key != next(reversed(self._shapes)):
                    self._shapes[key] = self._shapes.pop(key)  # the next file is most likely of the same series
                return *matched, shape.last
        return None

    def learn(self, runs: Sequence[ElementRun]) -> None:
        """Remember the shape of a file whose elements were parsed one by one, if they are in order."""
        tags = [tag for run in runs for tag in run.elements]
        if not runs or any(tag >= following for tag, following in pairwise(tags)):
            return
        runs = [run for run, tag in zip(runs, tags, strict=True) if tag < PIXEL_DATA]
        key = b"".join(run.raw[:_HEADER] for run in runs)
        shape = self._shapes.pop(key, None)
        if shape is None:
            shape = _Shape(runs)
        else:
            shape.learn(runs)
        self._shapes[key] = shape
        if len(self._shapes) > _SHAPES:
            del self._shapes[next(iter(self._shapes))]


class FileMetaCache:
    """The file meta information of a study's files, which differs in the value of one UID."""

    def __init__(self) -> None:
        self._known: list[tuple[bytes, int, bytes, tuple[str, int]]] = []

    def match(self, data: bytes) -> tuple[str, int] | None:
        """Transfer syntax and offset of the data set, if a file begins as an earlier one apart from that value."""
        for before, place, after, answer in self._known:
            if data.startswith(before, _PREAMBLE) and data.startswith(after, place):
                return answer
        return None

    def learn(self, head: bytes, name: slice, syntax: str) -> None:
        """Remember a beginning up to the data set; `name` is the value that may differ."""
        newest = (head[_PREAMBLE : name.start], name.stop, head[name.stop :], (syntax, len(head)))
        self._known = [newest, *self._known[: _SHAPES - 1]]


def _joined_run(runs: Sequence[ElementRun]) -> ElementRun:
    elements: Elements = {}
    facts: Elements = {}
    for run in runs:
        elements |= run.elements
        facts |= run.facts
    return ElementRun(b"".join(run.raw for run in runs), elements, facts, any(run.naming for run in runs))
