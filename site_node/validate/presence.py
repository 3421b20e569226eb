"""Type 1 and Type 2: which required attributes a file lacks (PS3.5 section 7.4, PS3.3 Annex A)."""

from collections import defaultdict
from collections.abc import Iterable

from shared.protocol.iod import required_of
from site_node.validate.elements import PIXEL_DATA, WORDS, Document, Element, Path

Lack = tuple[tuple[int, ...], int]  # the sequences that lead there, the attribute


def lacks(document: Document, sop_class: str) -> frozenset[Lack]:
    """The required attributes that are missing, or empty where a value is required, at the top and in every item.

    A place that occurs in several items lacks an attribute if one of its items does.
    """
    required = required_of(sop_class)
    found: set[Lack] = set()
    for path, members in _datasets(document.elements).items():
        places = path[::2]
        for attribute in required.get(places, ()):
            element = members.get(attribute.tag)
            is_pixels = attribute.tag == PIXEL_DATA and document.fragments is not None
            if is_pixels or (element is not None and not (attribute.value and _is_empty(element))):
                continue
            found.add((places, attribute.tag))
    return frozenset(found)


def _is_empty(element: Element) -> bool:
    return not element.raw.strip(b" \0") and element.items <= 0 and not (element.raw and element.vr in _BINARY)


_BINARY = frozenset(WORDS) | {"OB", "UN", ""}


def _datasets(elements: Iterable[Element]) -> dict[Path, dict[int, Element]]:
    """Elements by the data set they stand in; an item that holds nothing is one too."""
    found: defaultdict[Path, dict[int, Element]] = defaultdict(dict)
    for element in elements:
        found[element.path][element.tag] = element
        for number in range(element.items):
            found[(*element.path, element.tag, number)].update({})
    return found
