"""Key files under a passphrase, so that a copy of a disk opens nothing: PKCS #8 for PEM keys, age for all else.

A program reads its passphrase from a file or from systemd, so that it starts without a person.
"""

import io
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from shared.crypto.sealing import open_chunks, seal_for
from shared.crypto.stanzas import VERSION, Fault, Stanza, from_base64, invalid, to_base64

CREDENTIAL = "ricord-key-passphrase"  # the name of systemd's credential (`LoadCredential=`)
_PLAIN_PEM, _LOCKED_PEM = b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
_SALT_BYTES = 16
_LABEL = b"age-encryption.org/v1/scrypt"
_WORK, _MOST_WORK = 16, 20  # log2 of scrypt's cost: 64 MiB, and 1 GiB


@dataclass(frozen=True)
class Passphrase:
    """A passphrase, and as such the recipient and the identity of an age file (c2sp.org/age, "scrypt")."""

    secret: bytes = field(repr=False)

    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza that this passphrase opens."""
        salt = secrets.token_bytes(_SALT_BYTES)
        body = ChaCha20Poly1305(self._key(salt, _WORK)).encrypt(bytes(12), file_key, None)
        return Stanza(("scrypt", to_base64(salt), str(_WORK)), body)

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or `None` where the stanza is for another passphrase or a key; raises `SealedFileInvalid`."""
        kind, *arguments = stanza.arguments
        if kind != "scrypt":
            return None
        if len(arguments) != 2 or not arguments[1].isdecimal() or not 1 <= int(arguments[1]) <= _MOST_WORK:
            raise invalid(Fault.HEADER)
        salt = from_base64(arguments[0])
        if len(salt) != _SALT_BYTES:
            raise invalid(Fault.HEADER)
        with suppress(InvalidTag):
            return ChaCha20Poly1305(self._key(salt, int(arguments[1]))).decrypt(bytes(12), stanza.body, None)
        return None

    def _key(self, salt: bytes, work: int) -> bytes:
        return Scrypt(salt=_LABEL + salt, length=32, n=1 << work, r=8, p=1).derive(self.secret)


def is_locked(data: bytes) -> bool:
    """Whether a key file's bytes are under a passphrase."""
    return data.startswith((_LOCKED_PEM, VERSION))


def lock(data: bytes, passphrase: Passphrase | None) -> bytes:
    """A key file's bytes under a passphrase, or as they are where there is none."""
    if passphrase is None or is_locked(data):
        return data
    if data.startswith(_PLAIN_PEM):
        encryption = BestAvailableEncryption(passphrase.secret)
        return load_pem_private_key(data, password=None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    sealed = io.BytesIO()
    writer = seal_for([passphrase], sealed)
    writer.write(data)
    writer.finish()
    return sealed.getvalue()


def unlock(data: bytes, passphrase: Passphrase) -> bytes:
    """The bytes before `lock`; raises `ValueError` or `SealedFileInvalid` for another passphrase or damage."""
    if data.startswith(_LOCKED_PEM):
        key = load_pem_private_key(data, password=passphrase.secret)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return b"".join(open_chunks(passphrase, io.BytesIO(data)))


def credential() -> Path | None:
    """The file of systemd's credential with the passphrase, where the unit has one."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / CREDENTIAL if folder else None
    return file if file is not None and file.exists() else None
