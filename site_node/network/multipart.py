"""Read `multipart/related` (RFC 2387) as a stream, one part at a time, and strictly.

An answer without its closing delimiter was cut off: its last part is never yielded, since a cut DICOM file may look
like a whole one. Lines end in CR LF, or all in LF alone, as the first delimiter shows.
"""

import re
from collections.abc import Iterator
from email.message import Message

from shared.errors.transport import PacsFailed

_LONGEST_PART = 2 << 30  # bytes, an enhanced CT with a margin; the part is in memory while it is received
_BOUNDARY = re.compile(r"[\x20-\x7e]{1,70}")  # RFC 2046 5.1.1


def read_parts(content_type: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The body of each part; raises `PacsFailed` for an answer of another type or a cut one."""
    parts = _between(b"\r\n--" + _boundary(content_type), chunks)
    next(parts)  # the preamble before the first delimiter
    yield from map(_body, parts)


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["Content-Type"] = content_type
    boundary = message.get_boundary() or ""
    if message.get_content_type() != "multipart/related" or not _BOUNDARY.fullmatch(boundary):
        raise _broken("it is no multipart/related", "answer-not-multipart")
    return boundary.encode()


def _between(delimiter: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes before each delimiter, the closing one included; raises `PacsFailed` if that is missing."""
    buffer = bytearray(b"\r\n")  # so that the first delimiter, too, follows a line break
    searched = 0
    while True:
        start = buffer.find(delimiter, searched)
        end = start + len(delimiter)
        if start >= 0 and len(buffer) >= end + 2:
            yield bytes(buffer[:start])
            closes = buffer[end : end + 2] == b"--"
            if buffer[end : end + 1] == b"\n":
                delimiter = delimiter.removeprefix(b"\r")
            del buffer[:end]
            searched = 0
            if closes:
                return
            continue
        searched = start if start >= 0 else max(0, len(buffer) - len(delimiter))
        chunk = next(chunks, b"")
        if not chunk:
            raise _broken("it ends before its end", "answer-cut-off")
        if len(buffer) > _LONGEST_PART:
            raise _broken("an image in it is larger than 2 GiB", "answer-too-large")
        buffer += chunk


def _body(part: bytes) -> bytes:
    _, end, body = part.partition(b"\n\n" if part.startswith(b"\n") else b"\r\n\r\n")
    if not end:
        raise _broken("a part of it has no head", "answer-not-multipart")
    return body


def _broken(problem: str, reason: str) -> PacsFailed:
    problem = f"its answer is not as it should be: {problem}"
    return PacsFailed(operation="WADO-RS retrieve", problem=problem, reason=reason)
