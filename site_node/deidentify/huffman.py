"""Where the Huffman-coded data of a JPEG scan end (ITU-T T.81 Annexes F, G and H).

Nothing is decoded but the lengths: which code begins at each bit is looked up for all bits at once, then one code leads
to the next until the scan has its number of blocks or samples. A decoder reads nothing after that.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

_WINDOW = 16  # bits of the longest code
_PIECE = 1 << 16  # bytes looked up at once
_NO_CODE = 255
_OUTSIDE = 1 << 60  # a step that leaves every scan
_LONGEST_RUN, _LAST = 15, 63  # a shorter run of no coefficient ends the block; the last coefficient of one


class ScanBroken(ValueError):
    """A scan's data contradict its tables, or end early."""


class Table:
    """One Huffman table. Raises `ScanBroken` unless its codes fit and its symbols are distinct."""

    def __init__(self, counts: bytes, symbols: bytes) -> None:
        self.symbols = symbols
        lengths = [length for length, count in enumerate(counts, 1) for _ in range(count)]
        self._lookup = np.full(1 << _WINDOW, _NO_CODE, np.uint8)
        place = 0
        for number, length in enumerate(lengths):
            self._lookup[place : place + (1 << _WINDOW - length)] = number
            place += 1 << _WINDOW - length
        if place > 1 << _WINDOW or len(symbols) != len(set(symbols)) or len(symbols) > _NO_CODE:
            raise ScanBroken
        missing = [_OUTSIDE] * (_NO_CODE + 1 - len(symbols))
        sizes = [symbol % 16 for symbol in symbols]  # a difference of size 16 has no more bits (T.81 H.1.2.2)
        self.steps = [length + size for length, size in zip(lengths, sizes, strict=True)] + missing
        self.runs = [
            (symbol >> 4) + 1 if size or symbol >> 4 == _LONGEST_RUN else _LAST
            for symbol, size in zip(symbols, sizes, strict=True)
        ] + missing

    def codes(self, data: bytes) -> bytearray:
        """The number of the code that begins at each bit."""
        whole = np.frombuffer(data + b"\xff\xff\xff", np.uint8).astype(np.uint32)
        codes = bytearray(8 * len(data))
        target = np.frombuffer(codes, np.uint8).reshape(-1, 8)
        for start in range(0, len(data), _PIECE):
            end = min(start + _PIECE, len(data))
            bits = whole[start:end] << 16 | whole[start + 1 : end + 1] << 8 | whole[start + 2 : end + 2]
            for shift in range(8):
                target[start:end, shift] = self._lookup[bits >> 8 - shift & 0xFFFF]
        return codes


class Component(NamedTuple):
    """One component of a frame."""

    number: int
    wide: int  # sampling factors
    high: int
    table: int  # of quantisation


class Shape(NamedTuple):
    """The frame that a scan is part of (T.81 B.2.2)."""

    lines: int
    columns: int
    components: tuple[Component, ...]
    unit: int  # samples in a row of a data unit: 8, or 1 of lossless frames

    def units(self, scan: Sequence[Component]) -> tuple[int, tuple[int, ...]]:
        """How many minimum coded units a scan has, and of which of its components each unit in one is (T.81 A.2)."""
        widest, highest = max(part.wide for part in self.components), max(part.high for part in self.components)
        if len(scan) == 1:
            wide, high = -(-self.columns * scan[0].wide // widest), -(-self.lines * scan[0].high // highest)
            return -(-wide // self.unit) * -(-high // self.unit), (0,)
        count = -(-self.columns // (self.unit * widest)) * -(-self.lines // (self.unit * highest))
        return count, tuple(number for number, part in enumerate(scan) for _ in range(part.wide * part.high))


class Scan:
    """One scan, whose restart intervals follow each other.

    Args:
        units: of which of the scan's components each data unit of a minimum coded unit is.
        dc: the table of each component, where the scan codes DC coefficients or differences.
        ac: likewise for other coefficients.
        band: the first and the last coefficient.
        refines: whether the scan adds a bit to coefficients that earlier scans coded (T.81 G.1.2).
        coded: for each block the coefficients that are not zero so far, as bits; this scan adds to it.
    """

    def __init__(
        self,
        units: Sequence[int],
        dc: Sequence[Table],
        ac: Sequence[Table],
        band: tuple[int, int],
        *,
        refines: bool,
        coded: list[int],
    ) -> None:
        self._units, self._dc, self._ac = units, dc, ac
        self._first, self._last = band
        self._refines, self._coded = refines, coded
        self._block = 0

    def end(self, data: bytes, count: int) -> int:
        """The bytes of a restart interval, without stuffed ones, that `count` minimum coded units use."""
        try:
            place = self._place_after(data, count)
        except IndexError as error:
            raise ScanBroken from error
        if place > 8 * len(data):
            raise ScanBroken
        return -(-place // 8)

    def _place_after(self, data: bytes, count: int) -> int:
        """The bit after the last data unit."""
        if self._first:
            blocks = range(self._block, self._block + count)
            self._block += count
            return (self._refined if self._refines else self._spectral)(data, blocks)
        if self._refines:
            return count * len(self._units)
        codes = {table: table.codes(data) for table in {*self._dc, *self._ac}}
        ways = [(codes[self._dc[unit]], self._dc[unit].steps) for unit in self._units]
        if not self._ac:
            return _after_differences(ways, count)
        tables = [self._ac[unit] for unit in self._units]
        return _after_blocks(
            [(*way, codes[ac], ac.steps, ac.runs) for way, ac in zip(ways, tables, strict=True)], count
        )

    def _spectral(self, data: bytes, blocks: Iterable[int]) -> int:
        """Coefficients of a progressive scan, one component (T.81 G.1.2.2)."""
        table, coded, place, ended = self._ac[0], self._coded, 0, 0
        codes = table.codes(data)
        for block in blocks:
            if ended:
                ended -= 1
                continue
            k = self._first
            while k <= self._last:
                code = codes[place]
                run, size = divmod(table.symbols[code], 16)
                place += table.steps[code]
                if size:
                    coded[block] |= 1 << k + run
                elif run < _LONGEST_RUN:
                    ended = (1 << run) + _bits(data, place, run) - 1
                    place += run
                    break
                k += run + 1
        return place

    def _refined(self, data: bytes, blocks: Iterable[int]) -> int:
        """Coefficients of a refining scan: those that were zero are coded, all others get a bit (T.81 G.1.2.3)."""
        table, coded, place, ended = self._ac[0], self._coded, 0, 0
        codes = table.codes(data)
        for block in blocks:
            k, before = self._first, coded[block]
            while k <= self._last and not ended:
                code = codes[place]
                run, size = divmod(table.symbols[code], 16)
                place += table.steps[code]
                if not size and run < _LONGEST_RUN:
                    ended = (1 << run) + _bits(data, place, run)
                    place += run
                    break
                while k <= self._last and (run or before >> k & 1):
                    run, place = (run, place + 1) if before >> k & 1 else (run - 1, place)
                    k += 1
                coded[block] |= size << k
                k += 1
            if ended:
                ended -= 1
                place += (before >> k & (1 << max(self._last + 1 - k, 0)) - 1).bit_count()
        return place


def _after_differences(ways: list[tuple[bytearray, list[int]]], count: int) -> int:
    place = 0
    if len(ways) == 1:
        codes, steps = ways[0]
        for _ in repeat(None, count):
            place += steps[codes[place]]
        return place
    for _ in repeat(None, count):
        for codes, steps in ways:
            place += steps[codes[place]]
    return place


def _after_blocks(ways: list[tuple[bytearray, list[int], bytearray, list[int], list[int]]], count: int) -> int:
    place = 0
    for _ in repeat(None, count):
        for codes, steps, ac_codes, ac_steps, runs in ways:
            place += steps[codes[place]]
            k = 1
            while k <= _LAST:
                code = ac_codes[place]
                place += ac_steps[code]
                k += runs[code]
    return place


def _bits(data: bytes, place: int, count: int) -> int:
    """A number of at most 14 bits."""
    return (
        int.from_bytes(data[place >> 3 : (place >> 3) + 3].ljust(3, b"\0"), "big") >> 24 - (place & 7) - count
        & (1 << count) - 1
    )
