"""The curator's private keys; the agreement that a site signs names the public half of the first two.

The first pair lies in `keys/`, each later one in `keys/0002/`, `keys/0003/` and so on, and the last is the present one;
those before it open the studies that were sealed to them. `keys/next/` is there while a rotation is under way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from coordinator.home.person import TLS_FILE
from shared.crypto import keys
from shared.crypto.passphrase import Passphrase
from shared.crypto.sealing import AgeIdentity
from shared.crypto.signing import SigningKey
from shared.durable import move, sync_folder

IDENTITY_FILE = "age.key"
SIGNING_FILE = "signing.pem"
_PAIR = (IDENTITY_FILE, SIGNING_FILE)
_NEXT = "next"


class Pair(NamedTuple):
    """What opens studies, and what states that they are sealed to it."""

    identity: AgeIdentity
    signing: SigningKey


@dataclass(frozen=True)
class CuratorKeys:
    """What opens sealed studies, what signs, what speaks TLS; and what opens studies that were sealed before."""

    identity: AgeIdentity
    signing: SigningKey
    tls: EllipticCurvePrivateKey
    former: tuple[Pair, ...] = ()

    def named(self, recipient: str, fingerprint: str) -> AgeIdentity | None:
        """The identity of the pair that an agreement names, or `None` where it names another curator."""
        for pair in (Pair(self.identity, self.signing), *self.former):
            if (pair.identity.recipient, pair.signing.fingerprint) == (recipient, fingerprint):
                return pair.identity
        return None

    def signing_for(self, recipient: str) -> SigningKey:
        """The signing key of the pair that an agreement names by its recipient; the present one for any other."""
        pairs = (Pair(self.identity, self.signing), *self.former)
        return next((pair.signing for pair in pairs if pair.identity.recipient == recipient), self.signing)


def make_curator_keys(folder: Path, passphrase: Passphrase | None = None) -> CuratorKeys:
    """Make all three in `folder`; raises `KeyFileExists`, before anything is written, when one exists."""
    for name in (*_PAIR, TLS_FILE):
        keys.refuse_existing(folder / name)
    return CuratorKeys(*_make_pair(folder, passphrase), tls=keys.make_tls(folder / TLS_FILE, passphrase))


def load_curator_keys(folder: Path, passphrase: Passphrase | None = None) -> CuratorKeys:
    """Read all; raises as `shared.crypto.keys.read_key` does."""
    *former, present = (_load_pair(pair, passphrase) for pair in _pairs(folder))
    return CuratorKeys(*present, tls=keys.load_tls(folder / TLS_FILE, passphrase), former=tuple(former))


def lock_curator_keys(folder: Path, passphrase: Passphrase) -> int:
    """Put every key under a passphrase; how many files were under none. Raises what `lock_file` raises."""
    files = [folder / TLS_FILE, *(pair / name for pair in _pairs(folder) for name in _PAIR)]
    return sum(keys.lock_file(file, passphrase) for file in files)


def next_pair(folder: Path, passphrase: Passphrase | None) -> Pair:
    """The keys to rotate to: those of a rotation that was cut short, or new ones."""
    following = folder / _NEXT
    if all((following / name).exists() for name in _PAIR):
        return _load_pair(following, passphrase)
    for name in _PAIR:
        (following / name).unlink(missing_ok=True)  # half a pair was never shown to anybody
    return _make_pair(following, passphrase)


def adopt_next_pair(folder: Path) -> None:
    """Let the next pair be the present one."""
    move(folder / _NEXT, folder / f"{len(list(_pairs(folder))) + 1:04}")
    sync_folder(folder)


def _pairs(folder: Path) -> Iterator[Path]:
    """The folders of the pairs, the present one last."""
    yield folder
    yield from sorted(folder.glob("[0-9][0-9][0-9][0-9]"))


def _make_pair(folder: Path, passphrase: Passphrase | None) -> Pair:
    identity = keys.make_identity(folder / IDENTITY_FILE, passphrase=passphrase)
    return Pair(identity, keys.make_signing(folder / SIGNING_FILE, passphrase))


def _load_pair(folder: Path, passphrase: Passphrase | None) -> Pair:
    identity = keys.load_identity(folder / IDENTITY_FILE, passphrase)
    return Pair(identity, keys.load_signing(folder / SIGNING_FILE, passphrase))
