"""Create a federation: the home with its root, keys and settings; and renew the coordinator's own certificates."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from coordinator.home.authority import has_authority, load_authority, make_authority, passphrase_of
from coordinator.home.identity import OPERATOR, Identity, utc_now
from coordinator.home.settings import SQLITE, Home, Settings
from coordinator.store.ciphertext import CiphertextStore
from coordinator.store.folder import CiphertextFolder
from coordinator.store.interface import Store
from coordinator.store.locks import Locks
from coordinator.store.records import Certificate
from coordinator.store.sql import SqlStore, open_store
from shared.crypto import keys, pki
from shared.crypto.pki import Role
from shared.durable import write_whole
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import HomeExists
from shared.errors.storage import DatabaseMissing
from shared.extras import require_extra
from shared.protocol.loader import load_protocol

if TYPE_CHECKING:
    from coordinator.store.bucket_files import BucketFiles

SERVER_DAYS = 397  # many times the life of a member's certificate


def create_federation(home: Home, settings: Settings, text: str) -> Identity:
    """Create a home: root, keys, server and operator certificates, store. `text` becomes the settings file.

    The settings file is written last, so a folder without one is an unfinished home: founding goes on with the root and
    the keys in it. Raises `HomeExists` for a home, or another federation's root; `InvalidArgument` for a database that
    another home founded; `ProtocolInvalid`; what `open_store` raises. Then nothing is made.
    """
    if home.settings_file.exists():
        raise HomeExists(folder=str(home.folder))
    load_protocol(settings.protocol)
    with _new_folder(home.folder):
        store = open_home_store(home, settings)
    try:
        with store.read() as reading:
            founded = bool(reading.events(limit=1))
        if founded and not has_authority(home):
            raise InvalidArgument(name="The database", problem="it holds a federation that another home founded")
        _make_keys(home, settings)
        identity = open_identity(home, settings)
        renew_own_certificates(home, settings, identity, store)
        if not founded:
            with store.begin() as work:
                uri = identity.uri(Role.COORDINATOR, OPERATOR)
                work.append_event(at=utc_now(), actor=uri, action="federation founded", about=settings.federation)
    finally:
        store.close()
    write_whole(home.settings_file, text.encode())
    return identity


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Make a folder, which does not stay when the block raises, unless it was there before or something is in it."""
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _make_keys(home: Home, settings: Settings) -> None:
    """The root and the keys that are not there yet; raises `HomeExists` for the root of another federation.

    Certificates of a founding that was cut short may carry other names, so they are issued again.
    """
    passphrase = passphrase_of(settings)
    if has_authority(home) and load_authority(home, passphrase).federation != settings.federation:
        raise HomeExists(folder=str(home.folder))
    make_authority(home, settings.federation, passphrase)
    if not home.signing_key.exists():
        keys.make_signing(home.signing_key, passphrase)
    for path in (home.server_key, home.operator_key):
        if not path.exists():
            keys.make_tls(path)
    for certificate in (home.server_certificate, home.operator_certificate):
        certificate.unlink(missing_ok=True)


def open_identity(home: Home, settings: Settings) -> Identity:
    """The identity kept in a home, with the protocol installed; raises what reading a key file raises."""
    passphrase = passphrase_of(settings)
    return Identity(
        federation=settings.federation,
        addresses=settings.addresses,
        authority=load_authority(home, passphrase),
        signing_key=keys.load_signing(home.signing_key, passphrase),
        protocol=load_protocol(settings.protocol).named,
        certificate_days=settings.certificate_days,
        invitation_days=settings.invitation_days,
        join_days=settings.join_days,
    )


def open_home_store(home: Home, settings: Settings) -> SqlStore:
    """The store of a home, which is begun once; raises `DatabaseMissing`, and what `open_store` raises."""
    file = home.folder / SQLITE
    if not settings.database and home.audit_head.exists() and not file.exists():
        raise DatabaseMissing(file=file.name)
    return open_store(home.database(settings), password_file=settings.database_password_file)


def open_ciphertexts(home: Home, settings: Settings, locks: Locks) -> CiphertextStore:
    """Where sealed studies are kept. Raises `ExtraMissing`, and `StoreUnreachable` for a bucket."""
    if settings.store.bucket is None:
        return CiphertextFolder(home.blobs(settings))
    client = _s3_client(settings)
    from coordinator.store.bucket import CiphertextBucket

    bucket = CiphertextBucket(client, *settings.store.bucket, locks)
    bucket.check()
    return bucket


def open_shared_files(settings: Settings) -> "BucketFiles | None":
    """Where coordinators on several hosts keep what runs need: the bucket, if there is one. Raises `ExtraMissing`."""
    if settings.store.bucket is None:
        return None
    client, (bucket, prefix) = _s3_client(settings), settings.store.bucket
    from coordinator.store.bucket_files import BucketFiles

    return BucketFiles(client, bucket, f"{prefix}runs/")


def _s3_client(settings: Settings) -> Any:
    require_extra("s3", "boto3", otherwise=", or keep sealed studies in a folder")
    from coordinator.store.s3 import s3_client

    return s3_client(endpoint=settings.store.endpoint, credentials=settings.store.credentials_file)


def renew_own_certificates(home: Home, settings: Settings, identity: Identity, store: Store) -> None:
    """Issue the server's and the operator's certificates where they are missing or past two thirds of their life."""
    uri = identity.uri(Role.COORDINATOR, "server")
    if _is_due(home.server_certificate):
        key = keys.load_tls(home.server_key)
        _write(home.server_certificate, _issued(identity, key, uri, days=SERVER_DAYS, dns=settings.names))
    if _is_due(home.operator_certificate):
        uri = identity.uri(Role.COORDINATOR, OPERATOR)
        certificate = _issued(identity, keys.load_tls(home.operator_key), uri, days=identity.certificate_days)
        record = Certificate(
            serial=pki.serial_of(certificate),
            role=Role.COORDINATOR,
            name=OPERATOR,
            ends_at=pki.expires_at(certificate),
        )
        with store.begin() as work:
            work.add_certificate(record)
        _write(home.operator_certificate, certificate)


def _is_due(certificate: Path) -> bool:
    return not certificate.exists() or utc_now() >= pki.renew_at(certificate.read_bytes())


def _issued(
    identity: Identity, key: EllipticCurvePrivateKey, uri: str, *, days: int, dns: tuple[str, ...] = ()
) -> bytes:
    return pki.issue(identity.authority, pki.make_csr(key), uri, days=days, dns=dns)


def _write(path: Path, certificate: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, certificate)
