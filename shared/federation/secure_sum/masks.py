"""Key agreement, the keys of masks and sealed parcels of one secure-sum session.

X25519 shared secrets and random seeds go through HKDF-SHA256 with a context that names use, session and sites; so no
key serves twice, and ChaCha20 and ChaCha20-Poly1305 may start from a zero nonce.
"""

import hashlib
import secrets
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors.federation import SecureSumRefused
from shared.ids import SiteId

KEY_BYTES = 32


class Channel(NamedTuple):
    """One site's private and a peer's public channel key, in one session."""

    private: bytes
    public: bytes
    session: str


def new_secret() -> bytes:
    """32 random bytes: an X25519 private key or a mask's seed."""
    return secrets.token_bytes(KEY_BYTES)


def public_of(private: bytes) -> bytes:
    """The X25519 public key of 32 private bytes (clamped as RFC 7748 says)."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def commitment(seed: bytes, session: str, site: SiteId) -> str:
    """What a site publishes about its seed, in hexadecimal: binding, and hiding since a seed has 256 random bits."""
    return hashlib.sha256(f"ricord-secure-sum/1 commitment {session} {site} ".encode() + seed).hexdigest()


def share_digest(share: str, route: tuple[SiteId, SiteId], use: str) -> str:
    """What a sharer publishes about a share, in hexadecimal: a share has as many random bits as the secret."""
    return hashlib.sha256(f"ricord-secure-sum/1 share {use} {' '.join(route)} {share}".encode()).hexdigest()


def pair_key(private: bytes, public: bytes, session: str, sites: tuple[SiteId, SiteId]) -> bytes:
    """The key of the mask that two sites share: both compute it, whichever way round they are named."""
    first, second = sorted(sites)
    return _derive(_agree(private, public), "pair", session, first, second)


def self_key(seed: bytes, session: str, site: SiteId) -> bytes:
    """The key of a site's own mask."""
    return _derive(seed, "self", session, site)


def seal_parcel(channel: Channel, route: tuple[SiteId, SiteId], context: bytes, plain: bytes) -> bytes:
    """Encrypt `plain` from `route[0]` to `route[1]`, bound to `context`. Only once for each session and route."""
    return _cipher(channel, route).encrypt(bytes(12), plain, context)


def open_parcel(channel: Channel, route: tuple[SiteId, SiteId], context: bytes, sealed: bytes) -> bytes:
    """Decrypt what `route[0]` sealed for `route[1]`; raises `SecureSumRefused` when it is for another or changed."""
    try:
        return _cipher(channel, route).decrypt(bytes(12), sealed, context)
    except InvalidTag as error:
        raise SecureSumRefused(problem="these shares are not for this site and session") from error


def _cipher(channel: Channel, route: tuple[SiteId, SiteId]) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_derive(_agree(channel.private, channel.public), "parcel", channel.session, *route))


def _agree(private: bytes, public: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:  # a low-order point
        raise SecureSumRefused(problem="a site's round key cannot be used") from error


def _derive(secret: bytes, use: str, session: str, *sites: SiteId) -> bytes:
    context = " ".join(("ricord-secure-sum/1", use, session, *sites)).encode()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=context).derive(secret)
