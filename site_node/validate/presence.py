"""Type 1 and Type 2: which required attributes a file lacks (PS3.5 section 7.4, PS3.3 Annex A)."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from shared.protocol.iod import required_of
from shared.protocol.vr import WORD_SIZES
from site_node.validate.elements import PIXEL_DATA, Element, Part, Path

MissingAttribute = tuple[tuple[int, ...], int]  # tags of the sequences around it, outermost first; its own tag
_BINARY = frozenset(WORD_SIZES) | {"OB", "UN", ""}


def missing_in(tag: int, part: Part, sop_class: str) -> Iterator[MissingAttribute]:
    """The required attributes that are missing, or empty where a value is required, in one part of a file.

    `tag` is the top-level attribute; `part` is empty where the file lacks it. A sequence lacks an attribute if one of
    its items does. The pixel data are not checked here.
    """
    if tag not in _concerned(sop_class):
        return
    if len(part) == 1 and part[0].items < 0 and not _is_empty(part[0]):
        return  # present, with a value, and without items
    required = required_of(sop_class)
    for path, members in _datasets(tag, part).items():
        places = path[::2]
        for attribute in required.get(places, ()):
            if not path and attribute.tag != tag:
                continue
            element = members.get(attribute.tag)
            if element is None or (attribute.value and _is_empty(element)):
                yield places, attribute.tag


@cache
def _concerned(sop_class: str) -> frozenset[int]:
    """The top-level attributes that are required, or hold required ones, without the pixel data."""
    required = required_of(sop_class)
    top = {attribute.tag for attribute in required.get((), ())} - {PIXEL_DATA}
    return frozenset(top | {places[0] for places in required if places})


def _is_empty(element: Element) -> bool:
    return not element.raw.strip(b" \0") and element.items <= 0 and not (element.raw and element.vr in _BINARY)


def _datasets(tag: int, part: Part) -> dict[Path, dict[int, Element]]:
    """Elements by their data set, the top level first; an empty item is a data set too."""
    datasets: defaultdict[Path, dict[int, Element]] = defaultdict(dict)
    datasets[()] = {tag: part[0]} if part else {}
    for element in part:
        datasets[element.path][element.tag] = element
        for number in range(element.items):
            datasets[(*element.path, element.tag, number)].update({})
    return datasets
