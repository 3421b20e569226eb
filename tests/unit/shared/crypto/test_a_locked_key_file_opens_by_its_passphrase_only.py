"""Key files under a passphrase: each kind, by the right passphrase and no other; the `age` program reads ours."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from shared.crypto.keys import (
    find_passphrase,
    load_identity,
    load_signing,
    load_tls,
    lock_file,
    make_identity,
    make_signing,
    make_tls,
)
from shared.crypto.passphrase import CREDENTIAL, Passphrase, is_locked
from shared.errors.settings import KeyFileInvalid, KeyFileLocked, KeyFileOpen
from tests.peers import needs_peer

RIGHT, WRONG = Passphrase(b"correct horse"), Passphrase(b"battery staple")


def public(key: Any) -> str:
    """What others know of a key."""
    if isinstance(key, EllipticCurvePrivateKey):
        return str(key.public_key().public_numbers())
    return str(getattr(key, "recipient", None) or key.public.text)


KINDS = {"signing": (make_signing, load_signing), "age": (make_identity, load_identity), "tls": (make_tls, load_tls)}


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], Callable[..., Any]]:
    pair: tuple[Callable[..., Any], Callable[..., Any]] = request.param
    return pair


def test_a_locked_key_needs_its_passphrase(kind: tuple[Callable[..., Any], Callable[..., Any]], tmp_path: Path) -> None:
    """Without it, or by another, or damaged, the error says so; the file shows nothing of the key."""
    make, load = kind
    file = tmp_path / "key"
    key = make(file, passphrase=RIGHT)
    data = file.read_bytes()
    assert is_locked(data)
    assert data.startswith(
        b"age-encryption.org/v1" if make is make_identity else b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
    )
    assert b"AGE-SECRET-KEY" not in data
    assert public(load(file, passphrase=RIGHT)) == public(key)
    for passphrase in (None, WRONG):
        with pytest.raises(KeyFileLocked, match="encrypted"):
            load(file, passphrase=passphrase)
    file.write_bytes(data[:-40] + bytes(8) + data[-32:])
    with pytest.raises(KeyFileLocked):
        load(file, passphrase=RIGHT)


def test_a_plain_key_loads_as_ever_and_can_be_locked(
    kind: tuple[Callable[..., Any], Callable[..., Any]], tmp_path: Path
) -> None:
    """Also where a passphrase is named; locking keeps the key and the file's mode, and is done once."""
    make, load = kind
    file = tmp_path / "key"
    key = make(file)
    assert public(load(file, passphrase=RIGHT)) == public(key)
    assert lock_file(file, RIGHT)
    assert not lock_file(file, WRONG)
    assert file.stat().st_mode & 0o777 == 0o600
    assert public(load(file, passphrase=RIGHT)) == public(key)


def test_a_passphrase_comes_from_a_file_or_from_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is named goes first; one that others can read, or an empty one, is refused."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert find_passphrase(None) is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert find_passphrase(None) is None
    for name, secret in ((CREDENTIAL, b"from systemd\n"), ("file", b" from a file \nrest")):
        (tmp_path / name).write_bytes(secret)
        (tmp_path / name).chmod(0o600)
    assert find_passphrase(None) == Passphrase(b"from systemd")
    assert find_passphrase(tmp_path / "file") == Passphrase(b"from a file")
    (tmp_path / "file").chmod(0o644)
    with pytest.raises(KeyFileOpen):
        find_passphrase(tmp_path / "file")
    (tmp_path / CREDENTIAL).write_bytes(b"\n")
    with pytest.raises(KeyFileInvalid):
        find_passphrase(None)


def test_age_opens_a_locked_identity(tmp_path: Path) -> None:
    """No program of ours is needed to get at a key that is backed up; `age` asks for the passphrase on a terminal."""
    age = needs_peer("age")
    identity = make_identity(tmp_path / "key", "x25519", RIGHT)
    command = f"{age} --decrypt -o {tmp_path / 'plain'} {tmp_path / 'key'}"
    with_terminal = [needs_peer("script", "bsdutils"), "-qec", command, "/dev/null"]
    subprocess.run(with_terminal, input=RIGHT.secret + b"\n", capture_output=True, check=True, timeout=60)
    assert identity.unsafe_text in (tmp_path / "plain").read_text()
