import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_public_key

from shared.crypto import keys
from shared.crypto import passphrase as passphrases
from shared.crypto.passphrase import CREDENTIAL, Passphrase, is_locked
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import KeyFileDenied, KeyFileExists, KeyFileInvalid, KeyFileMissing, KeyFileOpen

MAKERS = (keys.make_signing, keys.make_tls, keys.make_secret, keys.make_flower, keys.make_identity)
LOADERS = (keys.load_signing, keys.load_tls, keys.load_secret, keys.load_flower_public, keys.load_identity)
PAIRS = tuple(zip(MAKERS, LOADERS, strict=True))


@pytest.mark.parametrize(("make", "load"), PAIRS)
def test_a_key_file_is_its_owners_alone_and_reads_back(
    make: Callable[[Path], object], load: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "keys" / "key"
    new = make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    loaded = load(path)
    assert getattr(new, "fingerprint", None) == getattr(loaded, "fingerprint", None)
    assert getattr(new, "recipient", None) == getattr(loaded, "recipient", None)
    assert new == loaded or not isinstance(new, bytes | str)


@pytest.mark.parametrize("make", MAKERS)
def test_a_key_never_overwrites_another(make: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "key"
    make(path)
    before = path.read_bytes()
    with pytest.raises(KeyFileExists):
        make(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("load", LOADERS)
def test_a_key_file_that_is_missing_is_named(load: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissing, match="key"):
        load(tmp_path / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_file_that_others_can_touch_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    keys.make_secret(path)
    path.chmod(mode)
    with pytest.raises(KeyFileOpen):
        keys.load_secret(path)


@pytest.mark.parametrize(
    ("make", "load"), [(m, load) for i, m in enumerate(MAKERS) for j, load in enumerate(LOADERS) if i != j]
)
def test_a_key_of_another_kind_is_refused(
    make: Callable[[Path], object], load: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "key"
    make(path)
    with pytest.raises(KeyFileInvalid):
        load(path)


@pytest.mark.parametrize("content", [b"", b"\x00", b"text", b"-----BEGIN PRIVATE KEY-----\n", b"x" * 100_000])
@pytest.mark.parametrize("load", LOADERS)
def test_a_damaged_key_file_is_refused(load: Callable[[Path], object], content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileInvalid):
        load(path)


@pytest.mark.parametrize("load", LOADERS)
def test_a_key_that_this_account_may_not_read_is_not_called_damaged(
    load: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody restores a good key for an owner or a mode that is wrong."""

    def denied(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(KeyFileDenied):
        load(tmp_path / "key")


def test_a_folder_is_no_key_file(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir(mode=0o700)
    with pytest.raises(KeyFileInvalid):
        keys.load_secret(tmp_path / "key")


def test_the_flower_key_has_the_form_that_flower_reads(tmp_path: Path) -> None:
    line = keys.make_flower(tmp_path / "flower.pem")
    assert (tmp_path / "flower.pem").read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    assert line.startswith("ecdsa-sha2-nistp384 ")
    load_ssh_public_key(line.encode())


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(handle: int) -> None:
        raise OSError(5, "broken disk")

    monkeypatch.setattr("shared.durable.os.fsync", broken)
    with pytest.raises(OSError, match="broken disk"):
        keys.write_private(tmp_path / "key", b"secret")
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_is_a_plain_file_of_at_most_64_kib(tmp_path: Path) -> None:
    """Not empty; a link that leads nowhere is in the way as a file is."""
    path = tmp_path / "key"
    for size, valid in ((1, True), (64 * 1024, True), (64 * 1024 + 1, False), (0, False)):
        path.write_bytes(b"x" * size)
        path.chmod(0o600)
        if valid:
            assert len(keys.read_private(path, "key")) == size
        else:
            with pytest.raises(KeyFileInvalid):
                keys.read_private(path, "key")
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileExists):
        keys.make_secret(dangling)
    with pytest.raises(KeyFileMissing):
        keys.load_secret(dangling)
    with pytest.raises(KeyFileInvalid):
        keys.read_private(tmp_path / ("x" * 300), "key")


def test_a_key_file_is_written_where_no_folder_is_yet(tmp_path: Path) -> None:
    """And over another only where that is meant; what a kill left of it is cleared."""
    path = tmp_path / "of" / "a" / "home" / "key"
    secret = keys.make_secret(path)
    assert len(secret) == 32
    (path.parent / ".key.0123456789ab.tmp").write_bytes(b"half")
    keys.write_private(path, b"another", replace=True)
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    assert keys.read_private(path, "key") == b"another"
    for size in (31, 33):
        keys.write_private(path, bytes(size), replace=True)
        with pytest.raises(KeyFileInvalid):
            keys.load_secret(path)


def test_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    """Whoever fills it could give another key each time."""
    pipe = tmp_path / "key"
    os.mkfifo(pipe, 0o600)
    writer = threading.Thread(target=pipe.write_bytes, args=(bytes(32),))
    writer.start()
    try:
        with pytest.raises(KeyFileInvalid):
            keys.load_secret(pipe)
    finally:
        writer.join()


def test_a_key_is_of_its_curve(tmp_path: Path) -> None:
    """P-256 for TLS and P-384 for Flower, and no other that its file's form allows."""
    path = tmp_path / "key"
    for curve, valid in ((ec.SECP256R1(), keys.load_tls), (ec.SECP384R1(), keys.load_flower_public)):
        key = ec.generate_private_key(curve)
        for form, load in ((PrivateFormat.PKCS8, keys.load_tls), (PrivateFormat.OpenSSH, keys.load_flower_public)):
            keys.write_private(path, key.private_bytes(Encoding.PEM, form, NoEncryption()), replace=True)
            if load is valid:
                assert load(path)
            else:
                with pytest.raises(KeyFileInvalid):
                    load(path)


def test_an_identity_is_the_only_line_that_is_no_comment(tmp_path: Path) -> None:
    """Empty lines are none; two identities would leave open which is meant."""
    path = tmp_path / "key"
    text = keys.make_identity(path).unsafe_text
    for lines, valid in ((("# made today", "", text, "", "# end"), True), ((text, text), False), (("#",), False)):
        keys.write_private(path, "\n".join(lines).encode(), replace=True)
        if valid:
            assert keys.load_identity(path).unsafe_text == text
        else:
            with pytest.raises(KeyFileInvalid):
                keys.load_identity(path)


def test_a_locked_file_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locking twice leaves the bytes of the first time; what others can read is not locked at all."""
    monkeypatch.setattr(passphrases, "_WORK", 4)
    path, secret = tmp_path / "key", Passphrase(b"correct horse")
    keys.make_secret(path)
    assert keys.lock_file(path, secret)
    first, inode = path.read_bytes(), path.stat().st_ino
    assert is_locked(first)
    assert not keys.lock_file(path, secret)
    assert (path.read_bytes(), path.stat().st_ino) == (first, inode)
    path.chmod(0o640)
    with pytest.raises(KeyFileOpen):
        keys.lock_file(path, secret)


def test_where_a_passphrase_is_needed_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of spaces is none; a folder of credentials without ours is none."""
    assert keys.required(Passphrase(b"x")) == Passphrase(b"x")
    with pytest.raises(InvalidArgument, match=CREDENTIAL):
        keys.required(None)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert keys.find_passphrase(None) is None
    (tmp_path / "file").write_bytes(b"   \nsecond")
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(KeyFileInvalid):
        keys.find_passphrase(tmp_path / "file")
