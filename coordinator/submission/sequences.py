"""The sequence numbers that sites give their studies: which did not arrive, which came more than once."""

from collections import Counter
from collections.abc import Iterable

from shared.frozen import Frozen
from shared.ids import SiteId


class Gap(Frozen):
    """Sequence numbers of a site that did not arrive, both ends included."""

    site_id: SiteId
    first: int
    last: int


class Repeat(Frozen):
    """A sequence number that a site gave to several submissions."""

    site_id: SiteId
    sequence: int
    count: int


def gaps(numbers: Iterable[tuple[str, int]]) -> tuple[Gap, ...]:
    """What is missing between 1 and each site's highest sequence number; `numbers` are in order."""
    missing, last = list[Gap](), ("", 0)
    for site_id, number in numbers:
        previous = last[1] if last[0] == site_id else 0
        if number - previous > 1:
            missing.append(Gap(site_id=SiteId(site_id), first=previous + 1, last=number - 1))
        last = site_id, number
    return tuple(missing)


def repeats(numbers: Iterable[tuple[str, int]]) -> tuple[Repeat, ...]:
    """The sequence numbers that a site gave to several submissions, in order: each study has its own."""
    counted = Counter(numbers)
    return tuple(
        Repeat(site_id=SiteId(site_id), sequence=number, count=count)
        for (site_id, number), count in counted.items()
        if count > 1
    )
