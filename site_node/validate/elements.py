"""A DICOM file as the validator sees it: a flat list of elements with their raw, little-endian values."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from mmap import MADV_DONTNEED, mmap
from typing import NamedTuple

PIXEL_DATA = 0x7FE00010
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"  # VR little endian
Path = tuple[int, ...]  # sequence tag, item number, sequence tag, item number, …


class Element(NamedTuple):
    """One element; `vr` is empty where the file does not say; `items` counts a sequence's items, else -1."""

    path: Path
    tag: int
    vr: str
    raw: bytes
    items: int = -1


Part = tuple[Element, ...]  # a top-level element and those in its items
Run = tuple[Part, ...]  # consecutive parts


@dataclass(frozen=True)
class Document:
    """One file, parsed to its end."""

    preamble: bytes
    meta: tuple[Element, ...]
    syntax: str
    explicit: bool
    runs: tuple[Run, ...]  # the very objects of the previous file where the bytes are the same
    fragments: tuple[memoryview, ...] | None  # the pixel data: one native value, or the fragments; `None`: none
    encapsulated: bool
    rest: tuple[bytes, ...]  # every byte outside the pixel data, element by element
    padding: int = 0  # zeros after the last element, as tapes and archives leave them

    @cached_property
    def parts(self) -> Run:
        """All parts of the file."""
        return tuple(chain.from_iterable(self.runs))

    @cached_property
    def top(self) -> dict[int, Part]:
        """The parts by tag; where two have the same tag, which is an error, the first."""
        return {part[0].tag: part for part in reversed(self.parts)}

    @property
    def elements(self) -> Iterator[Element]:
        """Every element at every depth, in the file's order."""
        return chain.from_iterable(self.parts)

    def first(self, tag: int) -> bytes:
        """The raw value of a top-level element without its padding; empty where the file lacks it."""
        part = self.top.get(tag)
        return part[0].raw.rstrip(b" \0") if part else b""


class UnseenElements:
    """Yields the elements that no previous file of a study had. PHI."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, dict[int, Run | Part]] = {}

    def of(self, document: Document, condition: Hashable) -> Iterator[Element]:
        """The elements of a file that were not yielded before under this condition."""
        seen = self._seen.setdefault(condition, {})
        for run in document.runs:
            if id(run) in seen:
                continue
            seen[id(run)] = run  # keeps it alive, so that no other object gets its id
            for part in run:
                if id(part) not in seen:
                    seen[id(part)] = part
                    yield from part


def forget(view: memoryview) -> None:
    """Release the memory of a view of a mapped file; the kernel reads it again where it is needed."""
    if isinstance(view.obj, mmap):
        view.obj.madvise(MADV_DONTNEED)
