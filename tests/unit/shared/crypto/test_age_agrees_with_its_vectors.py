"""Our age against the test vectors of its specification (C2SP CCTV, `age/testdata`)."""

import hashlib
import io
import zlib
from collections import Counter
from pathlib import Path

import pytest

from shared.crypto.sealing import decrypt, parse_identity
from shared.crypto.stanzas import Fault
from shared.errors.studies import SealedFileInvalid

FOLDER = Path(__file__).resolve().parents[4].parent / "shared" / "data" / "age-vectors" / "testdata"
VECTORS = sorted(path.name for path in FOLDER.glob("*")) if FOLDER.is_dir() else []
FAULTS = {
    "no match": Fault.NO_MATCH,
    "HMAC failure": Fault.MAC,
    "header failure": Fault.HEADER,
    "payload failure": Fault.CONTENT,
}
A_KEY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"  # the specification's example


class Vector:
    """One file: `key: value` lines, an empty line, the age file (deflated where its head says so)."""

    def __init__(self, data: bytes) -> None:
        head, _, body = data.partition(b"\n\n")
        self.lines = [line.split(": ", 1) for line in head.decode().splitlines()]
        self.body = zlib.decompress(body) if self.first("compressed") == "zlib" else body

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.lines if name == key]

    def first(self, key: str) -> str:
        return next(iter(self.all(key)), "")

    def outcome(self) -> tuple[str, bytes]:
        """The result of our `decrypt` (`success` or the problem), and all bytes it released."""
        problem = ""
        for text in self.all("identity") or [A_KEY]:
            target = io.BytesIO()
            try:
                decrypt(parse_identity(text), io.BytesIO(self.body), target)
            except SealedFileInvalid as error:
                problem = error.fields["problem"]
                if problem != Fault.NO_MATCH:
                    return problem, target.getvalue()
            else:
                return "success", target.getvalue()
        return problem, b""


def read(name: str) -> Vector:
    return Vector((FOLDER / name).read_bytes())


@pytest.mark.skipif(not VECTORS, reason="the C2SP age vectors are not beside this checkout")
def test_the_vectors_are_all_here() -> None:
    """At least 80 vectors apply to keys; armor and passphrases are not supported."""
    kinds = Counter("armor" if read(name).first("armored") else name.split("_")[0] for name in VECTORS)
    assert sum(kinds.values()) - kinds["armor"] - sum(bool(read(name).first("passphrase")) for name in VECTORS) >= 80


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_ends_as_the_specification_says(name: str) -> None:
    """Same verdict, and no byte released but those the vector allows; unsupported files are refused, never opened."""
    vector = read(name)
    verdict, released = vector.outcome()
    if vector.first("armored"):
        assert (verdict, released) == (Fault.HEADER, b"")
        return
    if vector.first("passphrase") and not vector.first("identity"):
        assert verdict in {Fault.HEADER, Fault.NO_MATCH}
        assert released == b""
        return
    expected = vector.first("expect")
    assert verdict == FAULTS.get(expected, expected)
    if vector.first("payload"):
        assert hashlib.sha256(released).hexdigest() == vector.first("payload")
