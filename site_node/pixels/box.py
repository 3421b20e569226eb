"""Where something is in a picture."""

from typing import NamedTuple


class Box(NamedTuple):
    """An upright rectangle in pixels of the stored image; `right` and `bottom` lie just outside it."""

    left: int
    top: int
    right: int
    bottom: int
