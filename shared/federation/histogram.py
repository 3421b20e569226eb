"""A histogram as a statistics plan asks for it."""

from itertools import pairwise

from pydantic import Field, field_validator

from shared.frozen import Frozen


class Histogram(Frozen):
    """A variable whose distribution is counted: a number in bins between `edges`, or its own categories without them.

    A bin holds its lower edge and not its upper one; the first and the last bin are open.
    """

    variable: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    edges: tuple[float, ...] = Field(default=(), max_length=50)

    @field_validator("edges")
    @classmethod
    def _ascend(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(before >= after for before, after in pairwise(edges)):
            raise ValueError("the edges of the bins do not ascend")
        return edges
