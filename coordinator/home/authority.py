"""Who signs the federation's certificates: keys in `ca/`, under a passphrase where there is one, the root's offline.

The key that signs receipts lies under the same passphrase.
"""

from datetime import datetime, timedelta
from pathlib import Path

from coordinator.home.settings import Home, Settings
from shared.crypto import keys, pki
from shared.crypto.passphrase import Passphrase, is_locked, lock
from shared.crypto.pki import Authority
from shared.durable import sync_folder, write_whole
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import KeyFileInvalid, KeyFileMissing

_KIND = "certificate authority's key"


def passphrase_of(settings: Settings) -> Passphrase | None:
    """The passphrase of the keys that sign; raises what `find_passphrase` raises."""
    return keys.find_passphrase(settings.key_passphrase_file)


def has_authority(home: Home) -> bool:
    """Whether anything can sign here."""
    return home.issuing_key.exists() or home.root_key.exists()


def load_authority(home: Home, passphrase: Passphrase | None) -> Authority:
    """Who signs: the intermediate, or the root of a federation that has none. Raises what `read_key` raises."""
    if home.issuing_key.exists():
        return _load(home, home.issuing_key, home.issuing_certificate, passphrase)
    return _load(home, home.root_key, home.root, passphrase)


def make_authority(home: Home, federation: str, passphrase: Passphrase | None) -> None:
    """The root and its intermediate, as far as they are not there. A root certificate without a key signed nothing."""
    home.root.parent.mkdir(exist_ok=True, mode=0o700)
    if home.issuing_key.exists():
        return
    if not home.root_key.exists():
        root = pki.make_ca(federation)
        write_whole(home.root, root.certificate_pem)
        keys.write_private(home.root_key, lock(root.key_pem, passphrase))
    issue_intermediate(home, passphrase)


def issue_intermediate(home: Home, passphrase: Passphrase | None, *, root_key: Path | None = None) -> Authority:
    """A new intermediate, by the root's key in `root_key` or the home; what the one before signed stays good.

    Raises `InvalidArgument` for a root that can have none or whose key is elsewhere, and what reading the key raises.
    """
    if root_key is None and not home.root_key.exists():
        raise InvalidArgument(
            name="--root-key", problem="the root's key is not in this home; name the file that has it"
        )
    intermediate = pki.make_intermediate(_load(home, root_key or home.root_key, home.root, passphrase))
    write_whole(home.issuing_certificate, intermediate.certificate_pem)
    keys.write_private(home.issuing_key, lock(intermediate.key_pem, passphrase), replace=True)
    return intermediate


def export_root(home: Home, folder: Path, passphrase: Passphrase | None) -> Path:
    """Move the root's key into `folder`, beside its certificate; returns the file. It may be repeated after a kill.

    Raises `InvalidArgument` where no intermediate signs or the key is not here, `KeyFileExists`.
    """
    if not home.issuing_key.exists():
        raise InvalidArgument(name="The root's key", problem="there is no intermediate, so it is needed here")
    if not home.root_key.exists():
        raise InvalidArgument(name="The root's key", problem="it is not here any more: it was exported before")
    load_authority(home, passphrase)  # the service can start without the root
    target, data = folder / home.root_key.name, keys.read_private(home.root_key, _KIND)
    if not target.exists() or keys.read_private(target, _KIND) != data:
        keys.write_private(target, data)
    write_whole(folder / home.root.name, home.root.read_bytes())
    home.root_key.unlink()
    sync_folder(home.root_key.parent)
    return target


def lock_signing_keys(home: Home, passphrase: Passphrase) -> int:
    """Put the keys that sign under a passphrase; how many were under none."""
    return sum(keys.lock_file(file, passphrase) for file in _signing_keys(home))


def concerns(home: Home, now: datetime) -> tuple[str, ...]:
    """What somebody should do about the keys that sign, a sentence each."""
    plain = [file.name for file in _signing_keys(home) if not is_locked(keys.read_private(file, "signing key"))]
    sentences = [f"{name} is not encrypted: set `key_passphrase_file`, then `ca encrypt`." for name in plain]
    if home.root_key.exists() and home.issuing_key.exists():
        sentences.append("The root's key lies here: move it away with `ca export-root`.")
    if home.issuing_key.exists() and now > _ends(home) - timedelta(days=pki.INTERMEDIATE_DAYS // 3):
        sentences.append(f"The intermediate ends on {_ends(home):%Y-%m-%d}: make another with `ca issue`.")
    return tuple(sentences)


def _signing_keys(home: Home) -> list[Path]:
    """Those that are here: the root's, the intermediate's, and that of receipts."""
    return [file for file in (home.root_key, home.issuing_key, home.signing_key) if file.exists()]


def _ends(home: Home) -> datetime:
    return pki.expires_at(home.issuing_certificate.read_bytes())


def _load(home: Home, key: Path, certificate: Path, passphrase: Passphrase | None) -> Authority:
    try:
        pems = certificate.read_bytes(), home.root.read_bytes()
        return Authority.from_pem(keys.read_key(key, _KIND, passphrase), *pems)
    except FileNotFoundError as error:
        raise KeyFileMissing(file=str(error.filename)) from error
    except ValueError as error:
        raise KeyFileInvalid(file=str(key), kind=_KIND) from error
