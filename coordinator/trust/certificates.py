"""Whether a member's certificates are valid according to the store: revocation and expiry apply at once."""

from datetime import datetime

from coordinator.store.interface import Reading
from shared.crypto.pki import Role
from shared.errors.trust import CertificateExpired, CertificateForeign


def check_certificate_row(reading: Reading, serial: str, *, role: Role, name: str, now: datetime) -> None:
    """Raise `CertificateForeign` unless `serial` was issued to this member and not revoked, `CertificateExpired`."""
    row, peer = reading.certificate(serial), f"{role}/{name}"
    if row is None or row.revoked_at is not None or (row.role, row.name) != (role, name):
        raise CertificateForeign(peer=peer)
    if row.ends_at <= now:
        raise CertificateExpired(peer=peer)


def is_member_now(reading: Reading, role: Role, name: str, now: datetime) -> bool:
    """Whether a member holds any certificate that is neither revoked nor expired."""
    return any(row.revoked_at is None and row.ends_at > now for row in reading.certificates(role, name))
