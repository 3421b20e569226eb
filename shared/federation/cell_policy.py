"""Named policies for small cells of a table: the centre hides by one, and a site says which is the weakest it accepts.

`cms-11`: counts of 1 to 10 are not shown, 0 is (CMS cell size suppression policy). `nhs-7-round-5`: counts of 1 to 7
are not shown, all others are rounded to the nearest 5 (NHS Digital, Hospital Episode Statistics analysis guide).
`min-k`: counts below k are not shown, 0 is; for example `min-5`.
"""

import re

from shared.errors.inputs import InvalidArgument
from shared.frozen import Frozen


class CellPolicy(Frozen):
    """Hide counts of 1 to `highest`; show others rounded to multiples of `base`."""

    name: str
    highest: int
    base: int = 1

    @classmethod
    def named(cls, name: str) -> "CellPolicy":
        """The policy of that name; raises `InvalidArgument`."""
        if name == "cms-11":
            return cls(name=name, highest=10)
        if name == "nhs-7-round-5":
            return cls(name=name, highest=7, base=5)
        match = re.fullmatch(r"min-([2-9]|[1-9][0-9]{1,3})", name)
        if match is None:
            raise InvalidArgument(name="policy", problem="it is none of cms-11, nhs-7-round-5, min-k (such as min-5)")
        return cls(name=name, highest=int(match.group(1)) - 1)

    def hides_as_much_as(self, other: "CellPolicy") -> bool:
        """Whether whatever `other` hides or rounds away, this policy does too."""
        return self.highest >= other.highest and self.base % other.base == 0

    def is_small(self, count: int) -> bool:
        """Whether a count must not be shown."""
        return 1 <= count <= self.highest

    def shown(self, count: int) -> int:
        """A count that is not small as it is shown: rounded half up."""
        return (count + self.base // 2) // self.base * self.base

    def range_of(self, shown: int) -> tuple[int, int]:
        """The smallest and the largest count that appears as `shown`."""
        if shown == 0:
            return 0, 0
        below = shown - self.base // 2
        return max(below, self.highest + 1), below + self.base - 1
