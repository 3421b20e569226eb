"""Elements between reading and writing: raw little-endian values by tag, and their byte form (PS3.5 section 7).

A reader returns `Elements`: for each tag the value representation and the raw value, whose bytes are little endian
whatever the file's byte order. A sequence's value is a function that reads its items on demand.
"""

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from shared.protocol.vr import LONG_VRS
from site_node.dicom.unreadable import malformed

TEXT_PADDED_WITH_NUL = frozenset({"UI", "OB", "UN"})
UNDEFINED = 0xFFFFFFFF
_LONGEST_SHORT = 0xFFFE  # bytes: the longest even value under an explicit header with a 16-bit length
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
_ITEM_HEADER = struct.Struct("<HHL").pack
_SHORT_HEADER = struct.Struct("<HH2sH").pack
_LONG_HEADER = struct.Struct("<HH2sHL").pack


class Span(NamedTuple):
    """Pixel bytes that stay in the source file: `length` bytes from `offset`."""

    offset: int
    length: int


class Element(NamedTuple):
    """One element; `vr` is empty where the file does not say (implicit VR)."""

    vr: str
    value: "bytes | Items"


Elements = dict[int, Element]
Items = Callable[[], Iterable[Elements]]


class ElementRun(NamedTuple):
    """One element of a file's top level, or a run of them that the files of a series share.

    Equal `raw` bytes are equal elements, so the outcome of one run holds for the next.
    """

    raw: bytes  # as in the file, headers included; empty where the reader had to convert it
    elements: Elements
    facts: Elements  # those of `elements` that say what the file is
    naming: bool  # whether it may hold somebody's name or number, at any depth


class ParsedFile(NamedTuple):
    """One file as a reader parsed it."""

    runs: "tuple[ElementRun, ...]"  # the top level without its pixel data
    facts: Elements  # of all runs
    explicit: bool  # how the new file is written
    syntax: str  # transfer syntax of the new file
    pixels: "Span | bytes | None"  # native: the value; encapsulated: the items with their delimiter
    encapsulated: bool
    pixel_vr: str


def bytes_of(dataset: Elements, tag: int) -> bytes:
    """The raw value of a plain element, empty if there is none."""
    element = dataset.get(tag)
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def facts_of(runs: "Iterable[ElementRun]") -> Elements:
    """The facts of all runs together."""
    facts: Elements = {}
    for run in runs:
        if run.facts:
            facts |= run.facts
    return facts


def pad(value: bytes, vr: str) -> bytes:
    """`value` padded to even length (PS3.5 section 6.2)."""
    return value + (b"\0" if vr in TEXT_PADDED_WITH_NUL else b" ") if len(value) % 2 else value


def header(tag: int, vr: str, length: int, *, explicit: bool) -> bytes:
    """An element's header; `length` is even or undefined."""
    if not explicit:
        return _ITEM_HEADER(tag >> 16, tag & 0xFFFF, length)
    if vr in LONG_VRS:
        return _LONG_HEADER(tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)
    return _SHORT_HEADER(tag >> 16, tag & 0xFFFF, vr.encode(), length)


def encode(tag: int, vr: str, value: bytes, *, explicit: bool) -> bytes:
    """A whole element of defined length. Raises `DicomUnsupported` where the value is too long for its header."""
    if len(value) % 2:
        value = pad(value, vr)
    if explicit and len(value) > _LONGEST_SHORT and vr not in LONG_VRS:
        raise malformed("malformed-value")
    return header(tag, vr, len(value), explicit=explicit) + value


def encode_items(bodies: Iterable[bytes]) -> bytes:
    """A sequence's value: items of defined length."""
    return b"".join(_ITEM_HEADER(0xFFFE, 0xE000, len(body)) + body for body in bodies)
