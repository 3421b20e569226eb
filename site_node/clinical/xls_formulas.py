"""Where an XLS sheet holds formulas: its record stream, read out of the compound file ([MS-CFB] 2, [MS-XLS] 2.4).

Every cell that is a formula, shared and array formulas included, has a FORMULA record of its own.
"""

import struct
from collections.abc import Iterator

from shared.errors import ClinicalSheetInvalid
from site_node.clinical.formulas import Place

_IN_HEADER = 109  # sectors of the allocation table that the header itself names
_LAST = 0xFFFFFFFA  # sector numbers from here on are marks
_ENTRY = 128  # bytes of a directory entry
_NAMES = ("Workbook", "Book")
_FORMULA, _EOF, _FILEPASS, _BOUNDSHEET, _BOF = 0x0006, 0x000A, 0x002F, 0x0085, 0x0809


def xls_formulas(content: bytes, index: int) -> frozenset[Place] | None:
    """The cells of sheet number `index` that are formulas; `None` where the file cannot be parsed.

    Raises `ClinicalSheetInvalid` for a file with a password.
    """
    try:
        stream = _stream(content)
        if stream is None:
            return None
        starts = []
        for kind, data in _records(stream, 0):
            if kind == _FILEPASS:
                raise ClinicalSheetInvalid(problem="it is protected by a password; save it without one")
            if kind == _BOUNDSHEET:
                starts.append(struct.unpack_from("<I", data)[0])
        records = _records(stream, starts[index])
        return frozenset(struct.unpack_from("<HH", data) for kind, data in records if kind == _FORMULA)
    except (struct.error, IndexError):
        return None


def _records(stream: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The records of one substream, those of charts inside it included."""
    depth = 0
    while at + 4 <= len(stream):
        kind, length = struct.unpack_from("<HH", stream, at)
        yield kind, stream[at + 4 : at + 4 + length]
        at += 4 + length
        depth += (kind == _BOF) - (kind == _EOF)
        if depth == 0:
            return


def _stream(content: bytes) -> bytes | None:
    """The workbook's stream; `None` where the file has none outside its mini stream."""
    size = 1 << struct.unpack_from("<H", content, 30)[0]
    table = _table(content, size)
    directory = _chain(content, size, table, struct.unpack_from("<I", content, 48)[0])
    (mini_cutoff,) = struct.unpack_from("<I", content, 56)
    for at in range(0, len(directory), _ENTRY):
        (length,) = struct.unpack_from("<H", directory, at + 64)
        name = directory[at : at + max(length - 2, 0)].decode("utf-16-le", "replace")
        start, stream_size = struct.unpack_from("<II", directory, at + 116)
        if name in _NAMES and stream_size >= mini_cutoff:
            return _chain(content, size, table, start)[:stream_size]
    return None


def _table(content: bytes, size: int) -> list[int]:
    """The allocation table: for each sector the one that follows it."""
    sectors = list(struct.unpack_from(f"<{_IN_HEADER}I", content, 76))
    following, count = struct.unpack_from("<II", content, 68)
    for _ in range(min(count, len(content) // size)):
        more = struct.unpack_from(f"<{size // 4}I", content, (following + 1) * size)
        sectors += more[:-1]
        following = more[-1]
    table: list[int] = []
    for sector in sectors:
        if sector < _LAST:
            table += struct.unpack_from(f"<{size // 4}I", content, (sector + 1) * size)
    return table


def _chain(content: bytes, size: int, table: list[int], sector: int) -> bytes:
    """The sectors of one stream, in order; a cyclic chain ends at the file's size."""
    parts: list[bytes] = []
    while sector < _LAST and len(parts) * size <= len(content):
        parts.append(content[(sector + 1) * size : (sector + 2) * size])
        sector = table[sector]
    return b"".join(parts)
