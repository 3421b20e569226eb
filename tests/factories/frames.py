"""Compressed frames for tests, made by real encoders, and places in them where a decoder does not look."""

import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
Planting = Callable[[bytes, bytes], bytes]  # a frame and what to plant; the frame with it
SOT, EOI = b"\xff\x90\0\x0a", b"\xff\xd9"
JPEG_LS = bytes.fromhex(  # 64x64 pixels of 900, near-lossless
    "ffd8fff7000b0c0040004001011100ffda00080101000200000000017844492aabff7fff7fff7ff87fff7fff7fff7fff7fff7fffd9"
)


def picture(rows: int, columns: int, *, seed: int = 1, noise: int = 20, colours: int = 1) -> Picture:
    """A slope with noise, (rows, columns) or (rows, columns, 3)."""
    chance = np.random.default_rng(seed)
    slope = np.add.outer(2 * np.arange(rows), np.arange(columns))[..., np.newaxis]
    whole = ((slope + chance.integers(0, noise + 1, (rows, columns, colours))) % 256).astype(np.uint8)
    return whole if colours > 1 else whole[..., 0]


def jpeg(pixels: Picture, **options: object) -> bytes:
    """A JPEG frame without application segments' bytes that mean nothing."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def jpeg_2000(pixels: Picture, **options: object) -> bytes:
    """A JPEG 2000 code stream."""
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, **options)
    return stream.getvalue()


def jpeg_lossless(pixels: Picture) -> bytes:
    """A lossless JPEG frame of process 14, selection value 1 (T.81 Annex H), all codes eight bits long."""
    before = np.concatenate([[np.full(pixels.shape[1], 0)], pixels[:-1]]).astype(int)
    before[:, 1:] = pixels[:, :-1]
    before[0, 0] = 128
    bits = ""
    for difference in (pixels.astype(int) - before).ravel():
        size = int(abs(difference)).bit_length()
        value = difference if difference > 0 else difference + (1 << size) - 1
        bits += f"{size:08b}" + (f"{value:0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    table = bytes(7) + b"\x0a" + bytes(8) + bytes(range(10))
    rows, columns = pixels.shape
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xC4, b"\0" + table),
            segment(0xC3, struct.pack(">BHHB", 8, rows, columns, 1) + b"\1\x11\0"),
            segment(0xDA, b"\1\1\0\1\0\0"),
            data,
            EOI,
        )
    )


def rle(planes: list[bytes]) -> bytes:
    """An RLE frame of byte planes, each in literal runs (PS3.5 Annex G)."""
    coded = []
    for plane in planes:
        runs = b"".join(
            bytes((len(run) - 1,)) + run for run in (plane[at : at + 128] for at in range(0, len(plane), 128))
        )
        coded.append(runs + b"\0" * (len(runs) % 2))
    starts = [64 + sum(map(len, coded[:number])) for number in range(len(coded))]
    return struct.pack("<16L", len(coded), *starts, *[0] * (15 - len(coded))) + b"".join(coded)


def segment(marker: int, body: bytes) -> bytes:
    """One marker segment of JPEG or JPEG 2000."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def items(*fragments: bytes, table: bytes = b"") -> bytes:
    """Encapsulated fragments, each padded to even length."""
    even = [table, *(fragment + b"\0" * (len(fragment) % 2) for fragment in fragments)]
    body = b"".join(b"\xfe\xff\0\xe0" + struct.pack("<L", len(item)) + item for item in even)
    return body + b"\xfe\xff\xdd\xe0\0\0\0\0"


def in_main_header(marker: int) -> Planting:
    """A segment before the first tile-part."""
    return lambda frame, token: frame.replace(SOT, segment(marker, token) + SOT, 1)


def in_tile_part(frame: bytes, header: bytes, slack: bytes) -> bytes:
    """The last tile-part with more segments and with bytes after its last packet."""
    place, end = frame.rfind(SOT), frame.rfind(EOI)
    length = struct.pack(">L", end - place + len(header) + len(slack))
    start = frame[:place] + frame[place : place + 6] + length + frame[place + 10 : place + 12]
    return start + header + frame[place + 12 : end] + slack + frame[end:]


def in_boxes(frame: bytes, token: bytes) -> bytes:
    """A JP2 file around the code stream, with a box of text."""
    boxes = ((b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"xml ", token), (b"jp2c", frame))
    return b"".join(struct.pack(">L4s", 8 + len(content), kind) + content for kind, content in boxes)


JPEG_2000_PLACES: dict[str, Planting] = {
    **{name: in_main_header(marker) for name, marker in (("TLM", 0x55), ("PLM", 0x57), ("CPF", 0x59), ("COM", 0x64))},
    "CRG": in_main_header(0x63),
    "PLT": lambda frame, token: in_tile_part(frame, segment(0x58, token), b""),
    "COM of a tile-part": lambda frame, token: in_tile_part(frame, segment(0x64, token), b""),
    "after the last packet": lambda frame, token: in_tile_part(frame, b"", token),
    "after the end": lambda frame, token: frame + token,
    "JP2": in_boxes,
}
JPEG_PLACES: dict[str, Planting] = {
    "COM": lambda frame, token: frame[:2] + segment(0xFE, token) + frame[2:],
    "APP1": lambda frame, token: frame[:2] + segment(0xE1, token) + frame[2:],
    "JFIF": lambda frame, token: (
        frame[:2] + segment(0xE0, b"JFIF\0\1\1" + token[:5] + b"\0\0") + frame[20 if frame[3] == 0xE0 else 2 :]
    ),
    "DQT": lambda frame, token: frame[:2] + segment(0xDB, b"\3" + token.ljust(64, b"x")[:64]) + frame[2:],
    "DHT": lambda frame, token: (
        frame[:2] + segment(0xC4, b"\x13" + bytes(7) + bytes((len(token),)) + bytes(8) + token) + frame[2:]
    ),
    "after the last block": lambda frame, token: frame[:-2] + token + EOI,
    "after a restart": lambda frame, token: frame[:-2] + b"\xff\xd0" + token + EOI,
    "after the end": lambda frame, token: frame + token,
}
