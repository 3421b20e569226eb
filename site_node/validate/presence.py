"""Type 1 and Type 2: which required attributes a file lacks (PS3.5 section 7.4, PS3.3 Annex A)."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from shared.protocol.iod import required_of
from site_node.validate.elements import PIXEL_DATA, WORDS, Document, Element, Part
from site_node.validate.elements import Path as Where

NoRowReason = tuple[tuple[int, ...], int]  # the sequences that lead there, the attribute
_BINARY = frozenset(WORDS) | {"OB", "UN", ""}


def required_on_top(sop_class: str) -> frozenset[int]:
    """The attributes that an object of that class must have at its top level, but for the pixel data."""
    return frozenset(one.tag for one in required_of(sop_class).get((), ())) - {PIXEL_DATA}


def lacks(document: Document, sop_class: str) -> frozenset[NoRowReason]:
    """The required attributes that are missing, or empty where a value is required, at the top and in every item.

    A place that occurs in several items lacks an attribute if one of its items does.
    """
    found = {
        lack
        for tag in {*document.top, *required_on_top(sop_class)}
        for lack in lacks_at(tag, document.top.get(tag, ()), sop_class)
    }
    pixels = any(one.tag == PIXEL_DATA for one in required_of(sop_class).get((), ()))
    return frozenset(found | ({((), PIXEL_DATA)} if pixels and document.fragments is None else set()))


def lacks_at(tag: int, part: Part, sop_class: str) -> Iterator[NoRowReason]:
    """The same of one attribute of the top level and what is in its items; `part` is empty where it is missing."""
    if tag not in _concerned(sop_class):
        return
    if len(part) == 1 and part[0].items < 0 and not _is_empty(part[0]):
        return  # it is there, has a value, and nothing is in it
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
    """The attributes of the top level that are required, or hold required ones."""
    return required_on_top(sop_class) | {places[0] for places in required_of(sop_class) if places}


def _is_empty(element: Element) -> bool:
    return not element.raw.strip(b" \0") and element.items <= 0 and not (element.raw and element.vr in _BINARY)


def _datasets(tag: int, part: Part) -> dict[Where, dict[int, Element]]:
    """Elements by the data set they stand in, the top level first; an item that holds nothing is one too."""
    found: defaultdict[Where, dict[int, Element]] = defaultdict(dict)
    found[()] = {tag: part[0]} if part else {}
    for element in part:
        found[element.path][element.tag] = element
        for number in range(element.items):
            found[(*element.path, element.tag, number)].update({})
    return found
