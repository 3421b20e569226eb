"""The framing inside a sealed study: a tar of plain files, in one zstd frame or bare.

Any `tar` reads it. The reader here is stricter than any: it computes the one header that a listed member may have and
compares it byte for byte, so links, other names, other sizes, times, owners and extensions have no way in, and nothing
may follow the end. It holds pieces of at most a few MiB, whatever a frame pretends to expand to.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import Protocol

from backports.zstd import DecompressionParameter, ZstdCompressor, ZstdDecompressor, ZstdError

from shared.errors.studies import SealedFileInvalid

_LEVEL = 3
_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878 section 3.1.1
_PIECE = 1 << 20  # bytes that zstd gives back at once, whatever a frame expands to
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_OCTAL = re.compile(rb"[0-7]{11}")  # the size field, bytes 124 to 135 (POSIX ustar)
BOUNDED: Mapping[int, int] = MappingProxyType({DecompressionParameter.window_log_max: 23})  # 8 MiB; level 3 uses 2
TOO_MUCH = "it holds what its contents do not list"
CUT = "its content is cut or changed"


class Sink(Protocol):
    """Where an archive is written; `finish` must follow the last write."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""

    def finish(self) -> None:
        """Write what is still buffered; nothing follows."""


class Compressor:
    """A zstd frame around what is written."""

    def __init__(self, target: Sink) -> None:
        self._target = target
        self._stream = ZstdCompressor(level=_LEVEL)

    def write(self, data: bytes) -> None:
        """Compress `data`."""
        self._target.write(self._stream.compress(data))

    def finish(self) -> None:
        """End the frame and its target."""
        self._target.write(self._stream.flush())
        self._target.finish()


class ArchiveWriter:
    """Writes members one after the other."""

    def __init__(self, target: Sink) -> None:
        self._target = target

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Write a member of exactly `size` bytes; raises `ValueError` when `chunks` hold more or fewer."""
        self._target.write(_header(name, size))
        written = 0
        for chunk in chunks:
            written += len(chunk)
            self._target.write(chunk)
        if written != size:
            raise ValueError("a member's size is not the one stated")
        self._target.write(bytes(-size % _BLOCK))

    def finish(self) -> None:
        """Write the end of the archive."""
        self._target.write(_END)
        self._target.finish()


class ArchiveReader:
    """Reads members in the order they must have. Every method raises `SealedFileInvalid`."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._pieces = _inflated(chunks)
        self._buffer = memoryview(b"")

    def first(self, name: str, limit: int) -> bytes:
        """The whole first member, which must be called `name` and have at most `limit` bytes."""
        header = b"".join(self._read(_BLOCK))
        stated = _OCTAL.fullmatch(header, 124, 135)
        size = int(stated.group(), 8) if stated else None
        if size is None or size > limit or header != _header(name, size):
            raise SealedFileInvalid(problem=f"it does not start with {name}")
        return b"".join(self._body(size))

    def member(self, name: str, size: int) -> Iterator[bytes]:
        """The pieces of the next member, which must be called `name` and have exactly `size` bytes."""
        if b"".join(self._read(_BLOCK)) != _header(name, size):
            raise SealedFileInvalid(problem="a member is not the one its contents list at that place")
        return self._body(size)

    def end(self) -> None:
        """Return when nothing but the end follows, to the last byte of the file."""
        if b"".join(self._read(len(_END))) != _END or self._buffer or any(self._pieces):
            raise SealedFileInvalid(problem=TOO_MUCH)

    def _body(self, size: int) -> Iterator[bytes]:
        yield from self._read(size)
        if any(b"".join(self._read(-size % _BLOCK))):
            raise SealedFileInvalid(problem=TOO_MUCH)

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._buffer = memoryview(self._more())
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield bytes(piece)

    def _more(self) -> bytes:
        for piece in self._pieces:
            if piece:
                return piece
        raise SealedFileInvalid(problem=CUT)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)  # its defaults: a plain file, time 0, owner 0
    entry.size, entry.mode = size, 0o444
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a single zstd frame, or the chunks themselves when they do not start with a frame."""
    first = next(chunks, b"")
    if not first.startswith(_MAGIC):
        yield first
        yield from chunks
        return
    frame = ZstdDecompressor(options=dict(BOUNDED))
    try:
        for chunk in chain([first], chunks):
            yield frame.decompress(chunk, _PIECE)
            while not (frame.needs_input or frame.eof):
                yield frame.decompress(b"", _PIECE)
    except (ZstdError, EOFError) as error:  # what follows a frame, too
        raise SealedFileInvalid(problem=CUT) from error
    if not frame.eof or frame.unused_data:
        raise SealedFileInvalid(problem=CUT)
