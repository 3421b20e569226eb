import io

import pytest

from shared.crypto import bech32
from shared.crypto.payload import CHUNK_BYTES
from shared.crypto.recipients import HybridIdentity, Kind, parse_recipient
from shared.crypto.sealing import decrypt, encrypt, generate_identity, parse_identity
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.studies import SealedFileInvalid

KINDS: tuple[Kind, ...] = ("hybrid", "x25519")
SPEC_IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
SPEC_RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"


def sealed(data: bytes, *recipients: str) -> bytes:
    target = io.BytesIO()
    encrypt(recipients, io.BytesIO(data), target)
    return target.getvalue()


def test_the_specifications_own_pair_fits() -> None:
    assert parse_identity(SPEC_IDENTITY).recipient == SPEC_RECIPIENT


@pytest.mark.parametrize("kind", KINDS)
def test_texts_survive_and_show_no_secret(kind: Kind) -> None:
    identity = generate_identity(kind)
    assert parse_identity(identity.unsafe_text).recipient == identity.recipient
    assert str(parse_recipient(identity.recipient)) == identity.recipient
    assert "SECRET" not in repr(identity) + str(identity)


def test_hybrid_is_the_default() -> None:
    identity = generate_identity()
    assert isinstance(identity, HybridIdentity)
    assert identity.unsafe_text.startswith("AGE-SECRET-KEY-PQ-1")
    assert identity.recipient.startswith("age1pq1")
    assert len(identity.recipient) == 1959


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        SPEC_RECIPIENT.upper(),
        SPEC_RECIPIENT[:-1] + "q",
        SPEC_RECIPIENT[:-1],
        "A" + SPEC_RECIPIENT[1:],
        SPEC_IDENTITY,
        bech32.encode("age", bytes(31)),
        bech32.encode("age1pq", bytes(1216))[:-1],
        bech32.encode("age1pq", bytes(1215)),
        bech32.encode("age1pq", b"\xff" * 1216),  # ML-KEM coefficients out of range
        "agé1",
    ],
)
def test_text_that_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_recipient(text)


@pytest.mark.parametrize("text", ["", SPEC_IDENTITY.lower(), SPEC_IDENTITY[:-1], SPEC_RECIPIENT, "AGE-SECRET-KEY-1"])
def test_text_that_is_no_identity_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        parse_identity(text)
    assert len(text) < 9 or text not in str(caught.value) + caught.value.private
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_recipients_open_it(kind: Kind) -> None:
    first, second, stranger = (generate_identity(kind) for _ in range(3))
    data = sealed(b"content", first.recipient, second.recipient)
    for identity in (first, second):
        target = io.BytesIO()
        decrypt(identity, io.BytesIO(data), target)
        assert target.getvalue() == b"content"
    with pytest.raises(SealedFileInvalid, match="another key"):
        decrypt(stranger, io.BytesIO(data), io.BytesIO())


def test_recipients_must_be_there_and_of_one_kind() -> None:
    """A recipient that a quantum computer opens would undo a hybrid one beside it."""
    mixed = [generate_identity(kind).recipient for kind in KINDS]
    for recipients in ([], mixed):
        with pytest.raises(InvalidArgument):
            encrypt(recipients, io.BytesIO(b""), io.BytesIO())


def test_sealing_twice_gives_two_ciphertexts() -> None:
    recipient = generate_identity().recipient
    assert sealed(b"content", recipient) != sealed(b"content", recipient)


def test_memory_does_not_grow_with_the_file() -> None:
    """64 MiB pass through both ways while neither side ever asks for more than a few chunks."""

    class Zeros(io.RawIOBase):
        left = 64 << 20

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 4 * CHUNK_BYTES
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    class Sink(io.BytesIO):
        total = 0

        def write(self, data: object) -> int:
            assert isinstance(data, bytes)
            assert len(data) <= 2 * CHUNK_BYTES
            self.total += len(data)
            return len(data)

    sink = Sink()
    encrypt([generate_identity("x25519").recipient], Zeros(), sink)  # type: ignore[arg-type]  # RawIOBase reads like BinaryIO
    assert sink.total > 64 << 20
