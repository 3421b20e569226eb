"""Huffman-coded data of JPEG scans, followed code by code to the last one (ITU-T T.81 Annexes F to H).

Independent of `site_node.deidentify.huffman` on purpose: the sixteen bits from each bit on are made by doubling, and
progressive scans are kept as sets of coefficients.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_FAR = 1 << 50


class CodestreamBroken(ValueError):
    """A frame cannot be followed by its grammar."""


class HuffmanTable:
    """A table of a DHT segment: sixteen counts, then the symbols."""

    def __init__(self, content: bytes) -> None:
        counts, self.symbols = content[:16], content[16:]
        widths = [width for width in range(1, 17) for _ in range(counts[width - 1])]
        spans = [1 << 16 - width for width in widths]
        if len(set(self.symbols)) != len(self.symbols) or len(widths) != len(self.symbols) or sum(spans) > 1 << 16:
            raise CodestreamBroken
        escape = bytes({*range(256)}.difference(self.symbols))[:1]  # stands for bits that begin no code
        filled = np.repeat(np.frombuffer(self.symbols, np.uint8), spans)
        self._by_bits = np.concatenate([filled, np.full((1 << 16) - len(filled), ord(escape), np.uint8)])
        self.bits = [_FAR] * 256
        for symbol, width in zip(self.symbols, widths, strict=True):
            self.bits[symbol] = width + symbol % 16

    def symbols_at(self, sixteen: NDArray[np.uint16]) -> bytes:
        """The symbol whose code begins at each bit."""
        return self._by_bits[sixteen].tobytes()


def _sixteen(data: bytes) -> NDArray[np.uint16]:
    """The sixteen bits from each bit on; behind the end stand ones."""
    bits: NDArray[np.uint16] = np.unpackbits(np.frombuffer(data + b"\xff\xff", np.uint8)).astype(np.uint16)
    for known in (1, 2, 4, 8):
        bits = bits[:-known] << np.uint16(known) | bits[known:]
    return bits[: 8 * len(data)]


def sequential(data: bytes, count: int, units: Sequence[tuple[HuffmanTable, HuffmanTable | None]]) -> int:
    """Bits of `count` units of a scan: a difference each, and 63 coefficients where there is a second table."""
    sixteen, place = _sixteen(data), 0
    views = {table: table.symbols_at(sixteen) for pair in units for table in pair if table}
    ways = [(views[dc], dc.bits, views[ac] if ac else b"", ac.bits if ac else []) for dc, ac in units]
    if len(ways) == 1 and not ways[0][2]:
        symbols, bits, *_ = ways[0]
        for _ in range(count):
            place += bits[symbols[place]]
        return place
    for _ in range(count):
        for symbols, bits, ac_symbols, ac_bits in ways:
            place += bits[symbols[place]]
            left = 63 if ac_symbols else 0
            while left > 0:
                symbol = ac_symbols[place]
                place += ac_bits[symbol]
                left = left - 1 - (symbol >> 4) if symbol & 15 or symbol == 0xF0 else 0
    return place


def progressive(data: bytes, table: HuffmanTable, blocks: Sequence[set[int]], band: range, *, refines: bool) -> int:
    """Bits of AC coefficients of a progressive scan; `blocks` hold which coefficients are coded so far."""
    symbols, place, ended = table.symbols_at(_sixteen(data)), 0, 0
    padded = data + bytes(4)
    for block in blocks:
        before = block & set(band) if refines else set[int]()
        left: Iterator[int] = iter(band)
        while not ended:
            at = next(left, None)
            if at is None:
                break
            symbol = symbols[place]
            run, size = symbol >> 4, symbol & 15
            place += table.bits[symbol]
            if not size and run < 15:
                following = int.from_bytes(padded[place // 8 : place // 8 + 4], "big") >> 32 - place % 8 - run
                ended = (1 << run) + following % (1 << run)
                place += run
                left = iter(range(at, band.stop))
                break
            while at is not None and (run or at in before):
                place += at in before
                run -= at not in before
                at = next(left, None)
            if size and at is not None:
                block.add(at)
        if ended:
            ended -= 1
            place += sum(at in before for at in left)
    return place
