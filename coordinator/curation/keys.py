"""The curator's private keys; the agreement that a site signs names the public half of the first two."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from shared.crypto import keys
from shared.crypto.sealing import AgeIdentity
from shared.crypto.signing import SigningKey

IDENTITY_FILE = "age.key"
SIGNING_FILE = "signing.pem"
TLS_FILE = "tls.pem"


@dataclass(frozen=True)
class CuratorKeys:
    """What opens sealed studies, what signs, what speaks TLS."""

    identity: AgeIdentity
    signing: SigningKey
    tls: EllipticCurvePrivateKey


def make_curator_keys(folder: Path) -> CuratorKeys:
    """Make all three in `folder`; raises `KeyFileExists`, before anything is written, when one exists."""
    for name in (IDENTITY_FILE, SIGNING_FILE, TLS_FILE):
        keys.refuse_existing(folder / name)
    return CuratorKeys(
        identity=keys.make_identity(folder / IDENTITY_FILE),
        signing=keys.make_signing(folder / SIGNING_FILE),
        tls=keys.make_tls(folder / TLS_FILE),
    )


def load_curator_keys(folder: Path) -> CuratorKeys:
    """Read all three; raises as `shared.crypto.keys.read_private` does."""
    return CuratorKeys(
        identity=keys.load_identity(folder / IDENTITY_FILE),
        signing=keys.load_signing(folder / SIGNING_FILE),
        tls=keys.load_tls(folder / TLS_FILE),
    )
