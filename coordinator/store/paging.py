"""Lists are read a page at a time, so that no answer grows with what is kept."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")


def read_page(read: Callable[[int], Sequence[Row]], limit: int, most: int) -> tuple[Sequence[Row], bool]:
    """At most `limit` rows (0: `most`), and never more than `most`; whether there are more. `read` gets a limit."""
    limit = min(limit or most, most)
    rows = read(limit + 1)
    return rows[:limit], len(rows) > limit
