"""Ed25519 signatures: who wrote a document. age does not authenticate a sender; the signed manifest does.

A signature is standard base64 over the bytes signed. Sign canonical JSON that carries a `format` field, so that a
signature made for one kind of document never fits another. Public keys travel as an OpenSSH line, and fingerprints
are OpenSSH's (`SHA256:` and base64 without padding), so `ssh-keygen -l` shows the same text to two people on the phone.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_public_key,
)

from shared.errors.inputs import InvalidIdentifier
from shared.errors.trust import SignatureInvalid
from shared.manifest import Manifest, SignedManifest, canonical_json


@dataclass(frozen=True)
class VerifyKey:
    """The public half of a signing key; two are equal when their text is."""

    text: str  # `ssh-ed25519 <base64>`, no comment

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one-line text form; raises `InvalidIdentifier` on any other."""
        key = cls(text)
        _parsed(text)
        return key

    def verify(self, data: bytes, signature: str, *, what: str = "message") -> None:
        """Return when `signature` is this key's over `data`; else raise `SignatureInvalid` naming `what`."""
        try:
            raw = base64.b64decode(signature)
            _parsed(self.text).verify(raw, data)
        except (InvalidSignature, binascii.Error, ValueError) as error:
            raise SignatureInvalid(what=what) from error
        if base64.b64encode(raw).decode() != signature:
            raise SignatureInvalid("not base64's canonical spelling", what=what)

    @property
    def fingerprint(self) -> str:
        """`SHA256:` and 43 characters, as `ssh-keygen -l` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.text.split(" ")[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return self.text


class SigningKey:
    """An Ed25519 private key. Its `repr` shows its fingerprint only."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read PKCS #8 PEM; raises `ValueError` when it holds anything else."""
        private = load_pem_private_key(pem, password=None)
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError("not an Ed25519 key")
        return cls(private)

    def to_pem(self) -> bytes:
        """PKCS #8 PEM, for `shared.crypto.keys` only."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, data: bytes) -> str:
        """The signature over `data` in base64."""
        return base64.b64encode(self._private.sign(data)).decode()

    @property
    def public(self) -> VerifyKey:
        """The public half."""
        return VerifyKey(_line(self._private.public_key()))

    @property
    def fingerprint(self) -> str:
        """The public half's fingerprint."""
        return self.public.fingerprint

    def __repr__(self) -> str:
        return f"SigningKey({self.fingerprint})"


def sign_manifest(manifest: Manifest, key: SigningKey) -> SignedManifest:
    """Bind every field of a manifest to the site's key."""
    return SignedManifest(manifest=manifest, signature=key.sign(canonical_json(manifest)))


def verify_manifest(signed: SignedManifest, verify_key: VerifyKey) -> Manifest:
    """The manifest, once its signature is verified as `verify_key`'s; raises `SignatureInvalid`."""
    verify_key.verify(canonical_json(signed.manifest), signed.signature, what="the manifest")
    return signed.manifest


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Ed25519PublicKey:
    """The key of a line; a coordinator verifies by those of its sites over and over."""
    try:
        public = load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidIdentifier(kind="signing key") from error
    if not isinstance(public, Ed25519PublicKey) or _line(public) != text:
        raise InvalidIdentifier(kind="signing key")
    return public


def _line(public: Ed25519PublicKey) -> str:
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
