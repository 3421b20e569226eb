"""What is read has every byte, length and count that its format gives it: stanzas, chunks, archives, lists, files."""

import base64
import hashlib
import io
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.crypto import passphrase as passphrases
from shared.crypto.archive import ArchiveReader, ArchiveWriter, Compressor
from shared.crypto.contents import Contents
from shared.crypto.keys import (
    private_pem,
)
from shared.crypto.passphrase import Passphrase
from shared.crypto.payload import CHUNK_BYTES, ChunkWriter, nonce, read_chunks, read_exactly
from shared.crypto.recipients import HybridIdentity, X25519Identity, generate_identity, parse_recipient
from shared.crypto.sealing import Unwraps, Wraps, open_chunks, seal_for
from shared.crypto.signing import SigningKey
from shared.crypto.stanzas import Stanza, read_header, to_base64, write_header
from shared.errors.studies import SealedFileInvalid

KEY = bytes(range(32))
FILE_KEY = bytes(range(16))


class Buffer(io.BytesIO):
    """A sink."""

    def finish(self) -> None:
        """Nothing is buffered."""


def archived(*members: bytes, compress: bool = False) -> bytes:
    target = Buffer()
    archive = ArchiveWriter(Compressor(target) if compress else target)
    for number, data in enumerate(members):
        archive.add(f"{number}", len(data), [data])
    archive.finish()
    return target.getvalue()


def members_of(*pieces: bytes) -> list[bytes]:
    """Of an archive of a list of four bytes and a member of five."""
    archive = ArchiveReader(iter(pieces))
    members = [archive.first("0", 4), b"".join(archive.member("1", 5))]
    archive.end()
    return members


@settings(max_examples=300)
@given(at=st.integers(0, 512 * 6 - 1), bit=st.integers(0, 7))
def test_no_bit_of_an_archive_is_free(at: int, bit: int) -> None:
    """Whichever changes, in header, padding or end, is refused; in content it is content."""
    whole = archived(b"list", b"image")
    assert len(whole) == 512 * 6
    data = bytearray(whole)
    data[at] ^= 1 << bit
    if 512 <= at < 516 or 1536 <= at < 1541:
        assert members_of(bytes(data)) != [b"list", b"image"]
    else:
        with pytest.raises(SealedFileInvalid):
            members_of(bytes(data))


@pytest.mark.parametrize("compress", [False, True])
def test_an_archive_ends_where_it_ends(compress: bool) -> None:
    """Nothing is cut and nothing follows, not even a zero or an empty frame."""
    whole = archived(b"list", b"image", compress=compress)
    assert members_of(whole) == [b"list", b"image"]
    further = archived(compress=True)
    for data in (whole[:-1], whole[: len(whole) // 2], b"", whole + b"\0", whole + bytes(512), whole + further):
        with pytest.raises(SealedFileInvalid):
            members_of(data)
        pieces = [data[start : start + 256] for start in range(0, len(data), 256)]
        with pytest.raises(SealedFileInvalid):
            members_of(*pieces)
    for following in (b"\0", further):
        with pytest.raises(SealedFileInvalid):
            members_of(whole, following)


def frame(*blocks: tuple[int, bytes], window: int = 13 << 3) -> bytes:
    """A zstd frame of blocks that hold bytes as they are, or a byte so many times (RFC 8878, section 3.1.1)."""
    parts = [b"\x28\xb5\x2f\xfd\0" + bytes([window])]
    for number, (times, data) in enumerate(blocks, start=1):
        size, kind = (len(data), 0) if times == 1 else (times, 1)
        parts.append((size << 3 | kind << 1 | (number == len(blocks))).to_bytes(3, "little") + data)
    return b"".join(parts)


def test_a_frame_that_did_not_end_is_cut() -> None:
    """Also where all content is there: an empty last block says that it is."""
    whole = frame((1, archived(b"list", b"image")), (1, b""))
    assert members_of(whole) == [b"list", b"image"]
    with pytest.raises(SealedFileInvalid):
        members_of(whole[:-3])


@pytest.mark.parametrize(("window", "valid"), [(13 << 3, True), (13 << 3 | 1, False), (14 << 3, False)])
def test_a_frame_asks_for_at_most_8_mib(window: int, valid: bool) -> None:
    """Of memory for what it refers back to; a window is a power of two and eighths of it."""
    data = frame((1, archived(b"list", b"image")), window=window)
    if valid:
        assert members_of(data) == [b"list", b"image"]
    else:
        with pytest.raises(SealedFileInvalid):
            members_of(data)


@pytest.mark.parametrize("offset", range(4))
def test_a_frame_expands_in_pieces_of_at_most_8_mib(offset: int) -> None:
    """Wherever its smallest blocks, of four bytes, which expand to the most, 128 KiB, are cut."""
    data = frame((1, archived(bytes(offset))), *[(1 << 17, b"x")] * 600)
    pieces = ArchiveReader(iter([data]))._read(64 << 20)
    assert max(map(len, pieces)) <= 8 << 20


def test_a_list_has_its_limit_and_no_more() -> None:
    """To the byte."""
    assert ArchiveReader(iter([archived(b"list")])).first("0", 4) == b"list"
    with pytest.raises(SealedFileInvalid, match="does not start"):
        ArchiveReader(iter([archived(b"list")])).first("0", 3)


@settings(max_examples=30, deadline=None)
@given(
    size=st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]),
    piece=st.integers(1, 99_999),
)
def test_a_chunk_is_written_once_more_is_known_to_follow(size: int, piece: int) -> None:
    """However the content comes: as few chunks as hold it, each of 64 KiB and a tag, and at most one held back."""
    data, target = secrets.token_bytes(size), io.BytesIO()
    writer = ChunkWriter(KEY, target)
    for start in range(0, size, piece):
        part = data[start : start + piece]
        assert writer.write(part) == len(part)
        written = min(start + piece, size)
        assert len(target.getvalue()) == max(0, written - 1) // CHUNK_BYTES * (CHUNK_BYTES + 16)
    writer.finish()
    assert len(target.getvalue()) == size + 16 * max(1, -(-size // CHUNK_BYTES))
    assert b"".join(read_chunks(KEY, io.BytesIO(target.getvalue()))) == data


def test_a_nonce_is_the_number_and_whether_it_is_the_last() -> None:
    """Eleven bytes, then one."""
    assert nonce(258, last=True) == bytes(9) + b"\x01\x02\x01"
    assert nonce(258, last=False) == bytes(9) + b"\x01\x02\x00"


@pytest.mark.parametrize("identity", [X25519Identity(KEY), HybridIdentity(KEY)], ids=["x25519", "hybrid"])
def test_a_stanza_has_one_share_and_one_key(identity: X25519Identity | HybridIdentity) -> None:
    """Of their lengths; one for another kind or another person is nobody's here, and any other is damage."""
    stanza = parse_recipient(identity.recipient).wrap(FILE_KEY)
    tag, share = stanza.arguments
    assert identity.unwrap(stanza) == FILE_KEY
    assert identity.unwrap(Stanza(("other", share), stanza.body)) is None
    stranger = type(identity)(KEY[::-1])
    assert stranger.unwrap(stanza) is None
    for arguments, body in (
        ((tag,), stanza.body),
        ((tag, share, share), stanza.body),
        ((tag, share[:-4]), stanza.body),
        ((tag, share + "AAAA"), stanza.body),
        ((tag, share), stanza.body[:-1]),
        ((tag, share), stanza.body + b"x"),
    ):
        with pytest.raises(SealedFileInvalid):
            identity.unwrap(Stanza(arguments, body))
    with pytest.raises(ValueError, match=r"."):
        type(identity)(KEY[:-1])


@settings(deadline=None)
@given(st.data())
def test_no_bit_of_a_sealed_file_is_free(data: st.DataObject) -> None:
    """Whichever changes, it does not open, or not with this key."""
    identity, target = X25519Identity(KEY), io.BytesIO()
    writer = seal_for([parse_recipient(identity.recipient)], target)
    writer.write(b"content")
    writer.finish()
    whole = bytearray(target.getvalue())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealedFileInvalid):
        list(open_chunks(identity, io.BytesIO(whole)))


def test_a_header_that_is_none_is_said_to_be_damaged() -> None:
    """Not to be changed, or for another: without stanzas, with a MAC of another length, or one behind another mark."""
    header = write_header([Stanza(("kind",), b"body")], FILE_KEY)
    begin, mac = header[:-44], header[-44:]
    for data in (
        write_header([], FILE_KEY),
        begin + mac[:-5] + b"\n",
        begin[:-1] + b"_" + mac,
        begin + b"\n",
        header[:-1] + b"_",
    ):
        with pytest.raises(SealedFileInvalid, match="damaged"):
            read_header(io.BytesIO(data))


@pytest.mark.parametrize("size", range(150))
def test_a_stanza_is_read_as_it_is_written_and_no_other_way(size: int) -> None:
    """In lines of 64 columns, the last of fewer, without padding (c2sp.org/age)."""
    body = bytes(range(size))
    header = write_header([Stanza(("kind", "argument"), body)], FILE_KEY)
    first, *lines = header.split(b"\n")[1:-2]
    assert (first, [len(line) for line in lines[:-1]]) == (b"-> kind argument", [64] * (len(lines) - 1))
    assert len(lines[-1]) < 64
    assert b"".join(lines) == base64.b64encode(body).rstrip(b"=")
    assert read_header(io.BytesIO(header)).stanzas == (Stanza(("kind", "argument"), body),)
    text = b"".join(lines)
    for columns in (len(text) - 1, 63, 65):
        other = [text[start : start + columns] for start in range(0, len(text) + 1, max(columns, 1))]
        if len(text) > 65:
            with pytest.raises(SealedFileInvalid, match="damaged"):
                read_header(io.BytesIO(header.replace(b"\n".join(lines), b"\n".join(other))))


@pytest.mark.parametrize(("argument", "valid"), [("!", True), ("~", True), (" ", False), ("\x7f", False), ("", False)])
def test_arguments_are_visible_characters(argument: str, valid: bool) -> None:
    """From `!` to `~`, and never none."""
    header = write_header([Stanza(("kind", argument), b"body")], FILE_KEY)
    if valid:
        assert read_header(io.BytesIO(header)).stanzas == (Stanza(("kind", argument), b"body"),)
    else:
        with pytest.raises(SealedFileInvalid):
            read_header(io.BytesIO(header))


def test_a_header_is_at_most_a_mebibyte() -> None:
    """To the byte, so that no file makes a program hold more."""
    short = len(write_header([Stanza(("kind", "x"), b"")], FILE_KEY))
    for size, valid in (((1 << 20) - short + 1, True), ((1 << 20) - short + 2, False)):
        header = write_header([Stanza(("kind", "x" * size), b"")], FILE_KEY)
        assert (len(header) <= 1 << 20) is valid
        if valid:
            read_header(io.BytesIO(header)).check(FILE_KEY)
        else:
            with pytest.raises(SealedFileInvalid):
                read_header(io.BytesIO(header))


@given(data=st.binary(max_size=50), size=st.integers(0, 60), most=st.integers(1, 9))
def test_short_reads_are_put_together(data: bytes, size: int, most: int) -> None:
    """A stream may return less than asked; only its end does."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, most))

    assert read_exactly(Slow(data), size) == data[:size]


def test_a_passphrase_stanza_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A salt of 16 bytes and a work factor of 1 to 20: no file makes a program work for hours."""
    monkeypatch.setattr(passphrases, "_WORK", 4)
    secret = Passphrase(b"correct horse")
    stanza = secret.wrap(FILE_KEY)
    kind, salt, work = stanza.arguments
    assert (kind, work, secret.unwrap(stanza)) == ("scrypt", "4", FILE_KEY)
    assert Passphrase(b"battery staple").unwrap(stanza) is None
    assert secret.unwrap(Stanza(("X25519", salt), stanza.body)) is None
    assert secret.unwrap(Stanza((kind, salt, "1"), stanza.body)) is None
    for arguments in (
        (kind,), (kind, salt), (kind, salt, work, work), (kind, salt, "0"), (kind, salt, "21"), (kind, salt, "-1"),
        (kind, salt, "x"), (kind, to_base64(bytes(15)), work), (kind, to_base64(bytes(17)), work),
    ):  # fmt: skip
        with pytest.raises(SealedFileInvalid):
            secret.unwrap(Stanza(arguments, stanza.body))
    assert "horse" not in repr(secret)


def test_the_costliest_passphrase_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none beyond; the key is what scrypt's definition says (RFC 7914), with 8 and 1 (c2sp.org/age)."""
    monkeypatch.setattr(passphrases, "_MOST_WORK", 5)
    secret, salt = Passphrase(b"correct horse"), bytes(range(16))
    for work, valid in ((5, True), (6, False)):
        label = b"age-encryption.org/v1/scrypt"
        key = hashlib.scrypt(secret.secret, salt=label + salt, n=2**work, r=8, p=1, dklen=32)
        body = ChaCha20Poly1305(key).encrypt(bytes(12), FILE_KEY, None)
        stanza = Stanza(("scrypt", to_base64(salt), str(work)), body)
        if valid:
            assert secret.unwrap(stanza) == FILE_KEY
        else:
            with pytest.raises(SealedFileInvalid):
                secret.unwrap(stanza)


def test_a_passphrase_is_the_only_recipient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside another a passphrase stanza means that somebody added it (c2sp.org/age)."""
    monkeypatch.setattr(passphrases, "_WORK", 4)
    secret, key = Passphrase(b"correct horse"), generate_identity("x25519")
    cases: list[tuple[list[Wraps], Unwraps]] = [([secret, parse_recipient(key.recipient)], key), ([secret] * 2, secret)]
    for recipients, opener in cases:
        target = io.BytesIO()
        seal_for(recipients, target).finish()
        with pytest.raises(SealedFileInvalid):
            list(open_chunks(opener, io.BytesIO(target.getvalue())))


def test_passphrases_are_as_costly_as_is_said() -> None:
    """64 MiB for ours, at most 1 GiB for a file's."""
    assert (passphrases._WORK, passphrases._MOST_WORK, passphrases._SALT_BYTES) == (16, 20, 16)


def test_a_signing_key_is_of_its_curve() -> None:
    """Another kind of private key is none."""
    with pytest.raises(TypeError):
        SigningKey.from_pem(private_pem(ec.generate_private_key(ec.SECP256R1())))


def contents(**changes: Any) -> Contents:
    """Of two images in two series."""
    instances = [
        {"series_instance_uid": f"1.2.{number}", "sop_instance_uid": f"1.3.{number}", "size": 1, "sha256": "0" * 64}
        for number in range(2)
    ]
    fields = {
        "site_id": "123456", "agreement": "A-0123456789ab", "agreement_version": 1, "protocol_digest": "0" * 64,
        "profile_digest": "0" * 64, "study": "1.2", "patient": "123456-000001", "modalities": ("CT",),
        "instances": instances,
    }  # fmt: skip
    return Contents.model_validate({**fields, **changes})


def test_a_list_names_each_image_once_and_in_order() -> None:
    """So the same study has the same digest, and nothing stands in it twice."""
    first, second = contents().model_dump()["instances"]
    for instances in ((second, first), (first, first), (first, {**second, "sop_instance_uid": "1.3.0"}), ()):
        with pytest.raises(ValidationError):
            contents(instances=instances)
    assert contents(instances=(first,)).members() == (("1.3.0.dcm", 1, "0" * 64),)
    assert contents(accepted=("eins", "zwei")).accepted == ("eins", "zwei")
    for words in (("zwei", "eins"), ("eins", "eins")):
        with pytest.raises(ValidationError):
            contents(accepted=words)
    clinical = {"size": 2, "sha256": "1" * 64}
    assert contents(clinical=clinical).members()[2:] == (("clinical.json", 2, "1" * 64),)
    manifest = contents().manifest(ciphertext_sha256="0" * 64, ciphertext_size=9, recipient="age1", sequence=1)  # type: ignore[arg-type] # a digest
    assert (manifest.series_count, manifest.instance_count) == (2, 2)
    assert [member.name for member in contents().members()] == ["1.3.0.dcm", "1.3.1.dcm"]
