"""The Merkle tree of RFC 9162, section 2.1, with SHA-256: roots, and proofs that a log only grew.

A tree of `size` leaves has one root. A consistency proof shows that the tree of another root is its beginning, an
inclusion proof that a leaf stands at an index (from 0). Leaves are paired from the left into whole subtrees, which
never change once they are whole, so a log that keeps them proves anything with a few of them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

EMPTY = hashlib.sha256(b"").digest()

Span = tuple[int, int]  # the leaves from the first index up to, and without, the second


class Subtree(NamedTuple):
    """A whole subtree of 2**`level` leaves, the first of them at `position` * 2**`level`."""

    level: int
    position: int


class Tree:
    """A tree that grows leaf by leaf. It holds the whole subtrees that it consists of, from left to right."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._hashes = list(hashes)  # of `whole_subtrees((0, size))`

    def append(self, leaf: bytes) -> Sequence[tuple[Subtree, bytes]]:
        """Add a leaf by its hash; returns the subtrees of several leaves that are whole now."""
        index, level, completed = self.size, 0, list[tuple[Subtree, bytes]]()
        while index >> level & 1:
            leaf, level = node_hash(self._hashes.pop(), leaf), level + 1
            completed.append((Subtree(level, index >> level), leaf))
        self._hashes.append(leaf)
        self.size += 1
        return completed

    @property
    def root(self) -> bytes:
        """The root."""
        return _folded(self._hashes) if self._hashes else EMPTY


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node above two."""
    return hashlib.sha256(b"\1" + left + right).digest()


def whole_subtrees(span: Span) -> Sequence[Subtree]:
    """The largest whole subtrees that a span consists of, from left to right."""
    start, end = span
    subtrees = list[Subtree]()
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        subtrees.append(Subtree(level, start >> level))
        start += 1 << level
    return subtrees


def hash_of(span: Span, hashes: Mapping[Subtree, bytes]) -> bytes:
    """The hash above a span's leaves, from those of its whole subtrees."""
    return _folded([hashes[subtree] for subtree in whole_subtrees(span)]) if span[1] > span[0] else EMPTY


def inclusion_spans(index: int, size: int) -> Sequence[Span]:
    """What an inclusion proof consists of: the spans beside the way from a leaf to the root, the lowest first."""
    start, end, beside = 0, size, list[Span]()
    while end - start > 1:
        middle = start + _left_width(end - start)
        if index < middle:
            beside.append((middle, end))
            end = middle
        else:
            beside.append((start, middle))
            start = middle
    return beside[::-1]


def consistency_spans(first: int, size: int) -> Sequence[Span]:
    """What a consistency proof from `first` leaves (1 at least) to `size` consists of, in the RFC's order."""
    start, end, beside = 0, size, list[Span]()
    while first < end:
        middle = start + _left_width(end - start)
        if first <= middle:
            beside.append((middle, end))
            end = middle
        else:
            beside.append((start, middle))
            start = middle
    return [*([(start, end)] if start else []), *beside[::-1]]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether an inclusion proof holds."""
    if not 0 <= index < size or len(path) != len(inclusion_spans(index, size)):
        return False
    for (start, _), beside in zip(inclusion_spans(index, size), path, strict=True):
        leaf = node_hash(leaf, beside) if start > index else node_hash(beside, leaf)
    return leaf == root


def is_consistent(first: int, first_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a consistency proof holds. Before a tree of no leaves, or of the same size, it is empty."""
    if first in (0, size):
        return not proof and first_root == (EMPTY if first == 0 else root)
    spans = consistency_spans(first, size) if first < size else ()
    if len(proof) != len(spans) or not spans:
        return False
    hashes: Iterator[tuple[Span, bytes]] = zip(spans, proof, strict=True)
    earlier = later = first_root if spans[0][1] > first else next(hashes)[1]
    for (start, _), beside in hashes:
        if start < first:
            earlier = node_hash(beside, earlier)
            later = node_hash(beside, later)
        else:
            later = node_hash(later, beside)
    return (earlier, later) == (first_root, root)


def _folded(hashes: Sequence[bytes]) -> bytes:
    """The hash above neighbouring subtrees that get smaller to the right."""
    *rest, above = hashes
    for left in reversed(rest):
        above = node_hash(left, above)
    return above


def _left_width(width: int) -> int:
    """How many of `width` leaves (2 at least) are below the left one of two nodes: the largest power of two less."""
    return 1 << (width - 1).bit_length() - 1
