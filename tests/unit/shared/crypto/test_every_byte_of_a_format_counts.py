"""What is read has every byte, length and count that its format gives it: stanzas, chunks, archives, lists, files."""

import io
import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.crypto import passphrase as passphrases
from shared.crypto.archive import ArchiveReader, ArchiveWriter, Compressor
from shared.crypto.contents import Contents
from shared.crypto.keys import (
    find_passphrase,
    load_secret,
    lock_file,
    make_secret,
    private_pem,
    read_private,
    required,
    write_private,
)
from shared.crypto.passphrase import CREDENTIAL, Passphrase, is_locked
from shared.crypto.payload import CHUNK_BYTES, ChunkWriter, nonce, read_chunks, read_exactly
from shared.crypto.recipients import HybridIdentity, X25519Identity, generate_identity, parse_recipient
from shared.crypto.sealing import Unwraps, Wraps, open_chunks, seal_for
from shared.crypto.signing import SigningKey
from shared.crypto.stanzas import Stanza, read_header, to_base64, write_header
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import KeyFileExists, KeyFileInvalid, KeyFileMissing, KeyFileOpen
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


def test_a_key_file_is_a_plain_file_of_at_most_64_kib(tmp_path: Path) -> None:
    """Not empty; a link that leads nowhere is in the way as a file is."""
    path = tmp_path / "key"
    for size, valid in ((1, True), (64 * 1024, True), (64 * 1024 + 1, False), (0, False)):
        path.write_bytes(b"x" * size)
        path.chmod(0o600)
        if valid:
            assert len(read_private(path, "key")) == size
        else:
            with pytest.raises(KeyFileInvalid):
                read_private(path, "key")
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileExists):
        make_secret(dangling)
    with pytest.raises(KeyFileMissing):
        load_secret(dangling)
    with pytest.raises(KeyFileInvalid):
        read_private(tmp_path / ("x" * 300), "key")


def test_a_key_file_is_written_where_no_folder_is_yet(tmp_path: Path) -> None:
    """And over another only where that is meant; what a kill left of it is cleared."""
    path = tmp_path / "of" / "a" / "home" / "key"
    secret = make_secret(path)
    assert len(secret) == 32
    (path.parent / ".key.0123456789ab.tmp").write_bytes(b"half")
    write_private(path, b"another", replace=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    assert read_private(path, "key") == b"another"
    for size in (31, 33):
        write_private(path, bytes(size), replace=True)
        with pytest.raises(KeyFileInvalid):
            load_secret(path)


def test_a_locked_file_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locking twice leaves the bytes of the first time; what others can read is not locked at all."""
    monkeypatch.setattr(passphrases, "_WORK", 4)
    path, secret = tmp_path / "key", Passphrase(b"correct horse")
    make_secret(path)
    assert lock_file(path, secret)
    first, inode = path.read_bytes(), path.stat().st_ino
    assert is_locked(first)
    assert not lock_file(path, secret)
    assert (path.read_bytes(), path.stat().st_ino) == (first, inode)
    path.chmod(0o640)
    with pytest.raises(KeyFileOpen):
        lock_file(path, secret)


def test_where_a_passphrase_is_needed_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of spaces is none; a folder of credentials without ours is none."""
    assert required(Passphrase(b"x")) == Passphrase(b"x")
    with pytest.raises(InvalidArgument, match=CREDENTIAL):
        required(None)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert find_passphrase(None) is None
    (tmp_path / "file").write_bytes(b"   \nsecond")
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(KeyFileInvalid):
        find_passphrase(tmp_path / "file")


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
    manifest = contents().manifest(ciphertext_sha256="0" * 64, ciphertext_size=9, recipient="age1", sequence=1)  # type: ignore[arg-type] # a digest
    assert (manifest.series_count, manifest.instance_count) == (2, 2)
    assert [member.name for member in contents().members()] == ["1.3.0.dcm", "1.3.1.dcm"]
