"""Private key files: made where they are used, readable by their owner only, never half-written, never overwritten.

`make_…` creates a file and returns the key; `load_…` reads one. Forms: signing and TLS keys are PKCS #8 PEM, the
Flower node key is OpenSSH's PEM (the form that Flower reads), the pseudonym secret is 32 raw bytes, an age identity
is its own text line. Any of them may be under a passphrase (`passphrase.py`).
"""

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from shared.crypto.passphrase import CREDENTIAL, Passphrase, credential, is_locked, lock, unlock
from shared.crypto.recipients import AgeIdentity, Kind, generate_identity, parse_identity
from shared.crypto.signing import SigningKey
from shared.durable import clear_unfinished, write_whole
from shared.errors.inputs import InvalidArgument, InvalidIdentifier
from shared.errors.settings import (
    KeyFileDenied,
    KeyFileExists,
    KeyFileInvalid,
    KeyFileLocked,
    KeyFileMissing,
    KeyFileOpen,
)
from shared.errors.studies import SealedFileInvalid

SECRET_BYTES = 32
_LARGEST = 64 * 1024  # bytes; every key file is far smaller
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Key = TypeVar("Key")


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a key file of mode 0600, whole and durable; its folder is made with mode 0700.

    Raises `KeyFileExists` unless `replace`: a lost pseudonym secret or identity cannot be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not replace:
        refuse_existing(path)
    clear_unfinished(path)
    write_whole(path, data, mode=0o600)


def refuse_existing(path: Path) -> None:
    """Return when there is nothing at `path`; else raise `KeyFileExists`."""
    if path.exists() or path.is_symlink():
        raise KeyFileExists(file=str(path))


def read_private(path: Path, kind: str) -> bytes:
    """The bytes of a key file.

    Raises `KeyFileMissing`, `KeyFileDenied`, `KeyFileOpen` when group or others have any right on it, `KeyFileInvalid`
    (naming `kind`) when it is not a plain file of a key's size.
    """
    try:
        with path.open("rb") as file:
            state = os.fstat(file.fileno())  # of the open file, so that nobody can swap it in between
            if state.st_mode & _OTHERS:
                raise KeyFileOpen(file=str(path))
            data = file.read(_LARGEST + 1)
    except FileNotFoundError as error:
        raise KeyFileMissing(file=str(path)) from error
    except PermissionError as error:
        raise KeyFileDenied(file=str(path)) from error
    except OSError as error:
        raise KeyFileInvalid(f"cannot read: {error.strerror}", file=str(path), kind=kind) from error
    if not stat.S_ISREG(state.st_mode) or not 0 < len(data) <= _LARGEST:
        raise KeyFileInvalid(file=str(path), kind=kind)
    return data


def read_key(path: Path, kind: str, passphrase: Passphrase | None = None) -> bytes:
    """As `read_private`, and opened where the file is under a passphrase; raises `KeyFileLocked` where it is not."""
    data = read_private(path, kind)
    if not is_locked(data):
        return data
    if passphrase is None:
        raise KeyFileLocked(file=str(path), problem="no passphrase is named for it")
    try:
        return unlock(data, passphrase)
    except (ValueError, SealedFileInvalid):
        raise KeyFileLocked(
            file=str(path), problem="the passphrase is not the one that it was encrypted with"
        ) from None


def lock_file(path: Path, passphrase: Passphrase) -> bool:
    """Put a key file under a passphrase; `False` where it is under one already. Raises what `read_private` raises."""
    data = read_private(path, "key")
    locked = lock(data, passphrase)
    if locked != data:
        write_private(path, locked, replace=True)
    return locked != data


def find_passphrase(file: Path | None) -> Passphrase | None:
    """The first line of `file`, else of systemd's credential; `None` where there is neither.

    Raises what `read_private` raises, and `KeyFileInvalid` for an empty line.
    """
    file = file or credential()
    if file is None:
        return None
    secret = read_private(file, "passphrase").split(b"\n")[0].strip()
    if not secret:
        raise KeyFileInvalid(file=str(file), kind="passphrase")
    return Passphrase(secret)


def required(passphrase: Passphrase | None) -> Passphrase:
    """The passphrase, where there is one; raises `InvalidArgument`."""
    if passphrase is None:
        problem = f"name a file with it as `key_passphrase_file` in the settings, or give systemd's {CREDENTIAL}"
        raise InvalidArgument(name="The passphrase", problem=problem)
    return passphrase


def make_signing(path: Path, passphrase: Passphrase | None = None) -> SigningKey:
    """A new Ed25519 signing key, kept at `path`."""
    key = SigningKey.generate()
    write_private(path, lock(key.to_pem(), passphrase))
    return key


def load_signing(path: Path, passphrase: Passphrase | None = None) -> SigningKey:
    """The signing key at `path`."""
    return _load(path, "signing key", SigningKey.from_pem, passphrase)


def make_tls(path: Path, passphrase: Passphrase | None = None) -> ec.EllipticCurvePrivateKey:
    """A new P-256 key for TLS, kept at `path`."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(path, lock(private_pem(key), passphrase))
    return key


def load_tls(path: Path, passphrase: Passphrase | None = None) -> ec.EllipticCurvePrivateKey:
    """The TLS key at `path`."""
    return _load(path, "TLS key", _tls, passphrase)


def make_secret(path: Path) -> bytes:
    """A new pseudonym secret of 32 random bytes, kept at `path`."""
    secret = secrets.token_bytes(SECRET_BYTES)
    write_private(path, secret)
    return secret


def load_secret(path: Path) -> bytes:
    """The pseudonym secret at `path`."""
    return _load(path, "pseudonym secret", _secret)


def make_flower(path: Path) -> str:
    """A new P-384 node key for Flower, kept at `path`; returns its public half as an OpenSSH line."""
    key = ec.generate_private_key(ec.SECP384R1())
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return _ssh_line(key)


def load_flower_public(path: Path) -> str:
    """The public half, as an OpenSSH line, of the Flower node key at `path`."""
    key = _load(path, "Flower node key", lambda data: _curve(load_ssh_private_key(data, password=None), ec.SECP384R1))
    return _ssh_line(key)


def make_identity(path: Path, kind: Kind = "hybrid", passphrase: Passphrase | None = None) -> AgeIdentity:
    """A new age identity, kept at `path` in the form `age-keygen` writes, which `age -d -i` reads."""
    identity = generate_identity(kind)
    text = f"# public key: {identity.recipient}\n{identity.unsafe_text}\n"
    write_private(path, lock(text.encode(), passphrase))
    return identity


def load_identity(path: Path, passphrase: Passphrase | None = None) -> AgeIdentity:
    """The one age identity in the file at `path`; lines that start with `#` are comments."""
    return _load(path, "age identity", _identity, passphrase)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8 PEM of an elliptic-curve key, as gRPC wants it; keep it in memory or in `write_private`."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load(path: Path, kind: str, parse: Callable[[bytes], Key], passphrase: Passphrase | None = None) -> Key:
    try:
        return parse(read_key(path, kind, passphrase))
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidIdentifier):
        # `from None`: a parser's message may quote the key
        raise KeyFileInvalid(file=str(path), kind=kind) from None


def _tls(data: bytes) -> ec.EllipticCurvePrivateKey:
    return _curve(load_pem_private_key(data, password=None), ec.SECP256R1)


def _curve(key: object, curve: type[ec.EllipticCurve]) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, curve):
        raise TypeError("another kind of key")
    return key


def _secret(data: bytes) -> bytes:
    if len(data) != SECRET_BYTES:
        raise ValueError("another length")
    return data


def _identity(data: bytes) -> AgeIdentity:
    lines = [line for line in data.decode("ascii").splitlines() if line and not line.startswith("#")]
    if len(lines) != 1:
        raise ValueError("not one identity")
    return parse_identity(lines[0])


def _ssh_line(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
