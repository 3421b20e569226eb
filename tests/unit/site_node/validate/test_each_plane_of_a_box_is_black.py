"""A box of a colour picture is black in each of its planes, and everything beside it is the source's."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_node.blanking import BlankBox
from site_node.validate.blanked import check_blanked
from site_node.validate.elements import Document, Element
from tests.factories.validated import runs_of

EMPTY = Document(b"", (), "", True, (), None, False, ())
COLUMNS, PLANES = 6, 3
BOX = BlankBox(instance="1.2.3", frame=0, left=1, top=0, right=3, bottom=1)
INSIDE = range(BOX.left, BOX.right)


def colours(values: Sequence[Sequence[int]], *, by_plane: bool, burned: bytes) -> Document:
    """A file of one row of pixels, sample by sample or plane by plane."""
    words = ((0x00280002, PLANES), (0x00280006, int(by_plane)), (0x00280010, 1), (0x00280011, len(values)))
    depth = ((0x00280100, 8), (0x00280101, 8), (0x00280102, 7), (0x00280103, 0))
    elements = [Element((), tag, "US", pack("<H", word)) for tag, word in (*words, *depth)]
    elements += [Element((), 0x00280004, "CS", b"RGB "), Element((), 0x00280301, "CS", burned)]
    data = bytes(chain.from_iterable(zip(*values, strict=True) if by_plane else values))
    elements.sort(key=lambda element: element.tag)
    return replace(EMPTY, runs=runs_of(*elements), fragments=(memoryview(data),))


pixels = st.lists(st.tuples(*[st.integers(1, 255)] * PLANES), min_size=COLUMNS, max_size=COLUMNS)


@given(pixels, st.booleans(), st.integers(0, PLANES - 1), st.integers(1, 255), st.integers(0, COLUMNS - 1))
def test_each_plane_of_a_box_is_black(
    source: list[tuple[int, int, int]], by_plane: bool, plane: int, value: int, place: int
) -> None:
    """One sample in one plane that is not is found, within the box and beside it."""
    original = colours(source, by_plane=by_plane, burned=b"YES ")
    blanked = [(0, 0, 0) if column in INSIDE else pixel for column, pixel in enumerate(source)]
    assert codes(colours(blanked, by_plane=by_plane, burned=b"NO"), original) == []
    even = [list(pixel) for pixel in blanked]
    for column in INSIDE:
        even[column][plane] = value
    assert codes(colours(even, by_plane=by_plane, burned=b"NO"), original) == ["blanking"]
    single = [list(pixel) for pixel in blanked]
    single[place][plane] = (single[place][plane] + value) % 256
    seen = codes(colours(single, by_plane=by_plane, burned=b"NO"), original)
    assert seen == (["blanking"] if place in INSIDE else ["pixels"])


def codes(new: Document, original: Document) -> list[str]:
    return [finding.code for finding in check_blanked(new, original, Path("none"), [BOX])]


@pytest.mark.parametrize("burned", [b"YES ", b"", b"NO  "])
def test_a_blanked_picture_says_that_nothing_is_burned_in(burned: bytes) -> None:
    """Exactly so."""
    source = [(5, 5, 5)] * COLUMNS
    blanked = [(0, 0, 0) if column in INSIDE else pixel for column, pixel in enumerate(source)]
    original = colours(source, by_plane=False, burned=b"YES ")
    expected = [] if burned.strip() == b"NO" else ["blanking"]
    assert codes(colours(blanked, by_plane=False, burned=burned), original) == expected
