"""Who can open an age file: recipients (public) and identities (private) of two kinds.

`hybrid` is `mlkem768x25519` (ML-KEM-768 and X25519 in HPKE, RFC 9180): safe against a future quantum computer, and
the default. `x25519` is what every age program opens. Passphrases (`scrypt`) are for key files only
(`passphrase.py`): a person is not a key.
"""

import hashlib
import secrets
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import ClassVar, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from shared.crypto import bech32
from shared.crypto.stanzas import FILE_KEY_BYTES, Fault, Stanza, derive, from_base64, invalid, to_base64
from shared.errors.inputs import InvalidIdentifier

Kind = Literal["hybrid", "x25519"]

_SEED_BYTES = 32
_WRAPPED_BYTES = FILE_KEY_BYTES + 16  # and the tag; checked before decrypting against partitioning oracles
_MLKEM_PUBLIC_BYTES = 1184
_X25519_BYTES = 32
_HYBRID = "mlkem768x25519"
_HYBRID_ENC_BYTES = 1120
_HYBRID_INFO = b"age-encryption.org/mlkem768x25519"
_HYBRID_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_X25519 = "X25519"
_X25519_INFO = b"age-encryption.org/v1/X25519"


class Recipient(ABC):
    """A public key that file keys are wrapped for; equal when its text is."""

    prefix: ClassVar[str]

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def __str__(self) -> str:
        return bech32.encode(self.prefix, self.raw)

    @abstractmethod
    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza that only this recipient's identity opens."""


class AgeIdentity(ABC):
    """A private key that opens sealed files. Its `repr` shows its recipient only."""

    prefix: ClassVar[str]
    tag: ClassVar[str]
    share_bytes: ClassVar[int]

    def __init__(self, seed: bytes) -> None:
        self._seed = seed

    @property
    def unsafe_text(self) -> str:
        """`AGE-SECRET-KEY-…`: whoever reads it can open every study sealed to this identity. For a key file only."""
        return bech32.encode(self.prefix, self._seed).upper()

    @property
    @abstractmethod
    def recipient(self) -> str:
        """The public text to seal to."""

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or `None` when the stanza is for someone else.

        Raises `SealedFileInvalid` when it is of this kind but malformed: arguments, lengths, a degenerate share.
        """
        if stanza.arguments[0] != self.tag:
            return None
        if len(stanza.arguments) != 2:
            raise invalid(Fault.HEADER)
        share = from_base64(stanza.arguments[1])
        if len(share) != self.share_bytes or len(stanza.body) != _WRAPPED_BYTES:
            raise invalid(Fault.HEADER)
        try:
            with suppress(InvalidTag):
                return self._open(share, stanza.body)
        except ValueError as error:
            raise invalid(Fault.HEADER) from error
        return None

    @abstractmethod
    def _open(self, share: bytes, body: bytes) -> bytes:
        """Decrypt; raises `InvalidTag` or, for a degenerate share, `ValueError`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.recipient[:24]}…)"


class X25519Recipient(Recipient):
    """`age1…`."""

    prefix = "age"

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self._public = X25519PublicKey.from_public_bytes(raw)

    def wrap(self, file_key: bytes) -> Stanza:
        """HKDF of an ephemeral X25519 exchange, then ChaCha20-Poly1305 under nonce 0: the key is used once."""
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        key = derive(ephemeral.exchange(self._public), salt=share + self.raw, info=_X25519_INFO)
        body = ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None)
        return Stanza((_X25519, to_base64(share)), body)


class X25519Identity(AgeIdentity):
    """`AGE-SECRET-KEY-1…`."""

    prefix = "age-secret-key-"
    tag = _X25519
    share_bytes = _X25519_BYTES

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self._private = X25519PrivateKey.from_private_bytes(seed)

    @property
    def recipient(self) -> str:
        """`age1…`."""
        return str(X25519Recipient(self._private.public_key().public_bytes_raw()))

    def _open(self, share: bytes, body: bytes) -> bytes:
        shared = self._private.exchange(X25519PublicKey.from_public_bytes(share))  # ValueError when all zero
        own = self._private.public_key().public_bytes_raw()
        key = derive(shared, salt=share + own, info=_X25519_INFO)
        return ChaCha20Poly1305(key).decrypt(bytes(12), body, None)


class HybridRecipient(Recipient):
    """`age1pq1…`: an ML-KEM-768 key, then an X25519 key."""

    prefix = "age1pq"

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self._public = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
        )

    def wrap(self, file_key: bytes) -> Stanza:
        """HPKE SealBase; its encapsulated key is the stanza's argument."""
        sealed = _HYBRID_SUITE.encrypt(file_key, self._public, _HYBRID_INFO)
        return Stanza((_HYBRID, to_base64(sealed[:_HYBRID_ENC_BYTES])), sealed[_HYBRID_ENC_BYTES:])


class HybridIdentity(AgeIdentity):
    """`AGE-SECRET-KEY-PQ-1…`: a 32-byte seed that SHAKE256 expands to both private keys (X-Wing)."""

    prefix = "age-secret-key-pq-"
    tag = _HYBRID
    share_bytes = _HYBRID_ENC_BYTES

    def __init__(self, seed: bytes) -> None:
        if len(seed) != _SEED_BYTES:
            raise ValueError("another length")
        super().__init__(seed)
        expanded = hashlib.shake_256(seed).digest(96)
        self._mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])

    @property
    def recipient(self) -> str:
        """`age1pq1…`, 1,959 characters."""
        raw = self._mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()
        return str(HybridRecipient(raw))

    def _open(self, share: bytes, body: bytes) -> bytes:
        # HPKE reports a degenerate X25519 share like any other failure; this exchange tells damage from a foreign key.
        self._x25519.exchange(X25519PublicKey.from_public_bytes(share[-_X25519_BYTES:]))
        private = MLKEM768X25519PrivateKey(self._mlkem, self._x25519)
        return _HYBRID_SUITE.decrypt(share + body, private, _HYBRID_INFO)


_RECIPIENTS: dict[str, type[X25519Recipient | HybridRecipient]] = {
    kind.prefix: kind for kind in (X25519Recipient, HybridRecipient)
}
_IDENTITIES: dict[str, type[X25519Identity | HybridIdentity]] = {
    kind.prefix: kind for kind in (X25519Identity, HybridIdentity)
}


def generate_identity(kind: Kind = "hybrid") -> AgeIdentity:
    """A new identity."""
    seed = secrets.token_bytes(_SEED_BYTES)
    return HybridIdentity(seed) if kind == "hybrid" else X25519Identity(seed)


def parse_recipient(text: str) -> Recipient:
    """The recipient a text means; raises `InvalidIdentifier` on any other text."""
    try:
        prefix, raw = bech32.decode(text)
        recipient = _RECIPIENTS[prefix](raw)
    except (ValueError, KeyError) as error:
        raise InvalidIdentifier(kind="age recipient") from error
    if str(recipient) != text:
        raise InvalidIdentifier(kind="age recipient")
    return recipient


def parse_identity(unsafe_text: str) -> AgeIdentity:
    """The identity a text means; raises `InvalidIdentifier`, which quotes nothing, on any other text."""
    try:
        prefix, seed = bech32.decode(unsafe_text)
        identity = _IDENTITIES[prefix](seed)
    except (ValueError, KeyError):
        raise InvalidIdentifier(kind="age identity") from None
    if identity.unsafe_text != unsafe_text:
        raise InvalidIdentifier(kind="age identity")
    return identity
