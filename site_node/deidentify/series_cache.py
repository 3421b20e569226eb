"""What the files of a series have in common: runs of elements that are the same bytes in one file after another.

A file that has the shape of an earlier one is compared run by run, and only the elements that differ are parsed. What
a run means was found out when its elements were parsed one by one, so nothing is taken on trust.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from site_node.deidentify.elements import PIXEL_DATA, ElementRun, Elements

_SHAPES = 8  # remembered of a study; a series has one or two
_HEADER = 6  # bytes: tag and value representation
_PREAMBLE = 128
Parse = Callable[[int], tuple[ElementRun, int]]  # place of an element -> the element and the place after it


class _Slot(NamedTuple):
    """A run that must stand there as it is, or an element of a certain tag whose value is open."""

    run: ElementRun | None
    header: bytes


class _Shape:
    """Files with the same elements in the same order."""

    def __init__(self, pieces: Sequence[ElementRun]) -> None:
        self._pieces = list(pieces)
        self._open: set[int] = set()  # positions of elements that differ between files
        self.last = max(pieces[-1].elements)
        self._slots: list[_Slot] = []
        self._join()

    def learn(self, pieces: Sequence[ElementRun]) -> None:
        """Take another file of this shape: where it differs, values are open from now on."""
        self._open |= {
            place for place, (one, other) in enumerate(zip(self._pieces, pieces, strict=True)) if one.raw != other.raw
        }
        self._pieces = list(pieces)
        self._join()

    def match(self, data: bytes, place: int, parse: Parse) -> tuple[list[ElementRun], int] | None:
        """The pieces of a file that has this shape, and the place after them."""
        found: list[ElementRun] = []
        for run, header in self._slots:
            if run is None:
                if not data.startswith(header, place):
                    return None
                run, place = parse(place)  # noqa: PLW2901 -- the element stands where the run would
            else:
                if not data.startswith(run.raw, place):
                    return None
                place += len(run.raw)
            found.append(run)
        return found, place

    def _join(self) -> None:
        self._slots = list(self._joined())

    def _joined(self) -> Iterator[_Slot]:
        for is_open, group in groupby(enumerate(self._pieces), key=lambda one: one[0] in self._open):
            pieces = [piece for _, piece in group]
            if is_open:
                yield from (_Slot(None, piece.raw[:_HEADER]) for piece in pieces)
            else:
                yield _Slot(_run(pieces), b"")


class Runs:
    """The shapes that the files of one study were found to have."""

    def __init__(self) -> None:
        self._shapes: dict[bytes, _Shape] = {}

    def match(self, data: bytes, place: int, parse: Parse) -> tuple[list[ElementRun], int, int] | None:
        """The pieces of a file that has a known shape, the place after them and the last tag; None if it has none."""
        for key, shape in reversed(self._shapes.items()):
            found = shape.match(data, place, parse)
            if found is not None:
                if key != next(reversed(self._shapes)):
                    self._shapes[key] = self._shapes.pop(key)  # the next file is most likely of the same series
                return *found, shape.last
        return None

    def learn(self, pieces: Sequence[ElementRun]) -> None:
        """Remember the shape of a file whose elements were parsed one by one, if they are in order."""
        tags = [tag for piece in pieces for tag in piece.elements]
        if not pieces or any(one >= other for one, other in pairwise(tags)):
            return
        pieces = [piece for piece, tag in zip(pieces, tags, strict=True) if tag < PIXEL_DATA]
        key = b"".join(piece.raw[:_HEADER] for piece in pieces)
        shape = self._shapes.pop(key, None)
        if shape is None:
            shape = _Shape(pieces)
        else:
            shape.learn(pieces)
        self._shapes[key] = shape
        if len(self._shapes) > _SHAPES:
            del self._shapes[next(iter(self._shapes))]


class Metas:
    """The file meta informations of a study's files, which differ in the value of one UID."""

    def __init__(self) -> None:
        self._known: list[tuple[bytes, int, bytes, tuple[str, int]]] = []

    def match(self, data: bytes) -> tuple[str, int] | None:
        """Transfer syntax and offset of the data set, if a file begins as an earlier one did but for that value."""
        for before, place, after, found in self._known:
            if data.startswith(before, _PREAMBLE) and data.startswith(after, place):
                return found
        return None

    def learn(self, head: bytes, name: slice, syntax: str) -> None:
        """Remember a beginning up to the data set; `name` is the value that may differ."""
        newest = (head[_PREAMBLE : name.start], name.stop, head[name.stop :], (syntax, len(head)))
        self._known = [newest, *self._known[: _SHAPES - 1]]


def _run(pieces: Sequence[ElementRun]) -> ElementRun:
    elements: Elements = {}
    facts: Elements = {}
    for piece in pieces:
        elements |= piece.elements
        facts |= piece.facts
    return ElementRun(b"".join(piece.raw for piece in pieces), elements, facts, any(piece.naming for piece in pieces))
