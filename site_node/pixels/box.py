"""Where something is in a picture."""

from collections.abc import Iterator
from typing import NamedTuple


class Box(NamedTuple):
    """An upright rectangle in pixels of the stored image; `right` and `bottom` lie just outside it."""

    left: int
    top: int
    right: int
    bottom: int

    def parts(self, side: int, overlap: int) -> "Iterator[Box]":
        """Boxes of `side` pixels at most that cover this one; those beside each other share `overlap` pixels."""
        step = side - overlap
        for top in range(self.top, max(self.bottom - overlap, self.top + 1), step):
            for left in range(self.left, max(self.right - overlap, self.left + 1), step):
                yield Box(left, top, min(left + side, self.right), min(top + side, self.bottom))
