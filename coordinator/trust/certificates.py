"""Whether a member's certificates are still good, as the store knows it: revoking and time hold at once."""

from datetime import datetime

from coordinator.store.interface import Reading
from shared.crypto.pki import Role
from shared.errors import CertificateExpired, CertificateForeign


def check_certificate_row(reading: Reading, serial: str, *, role: Role, name: str, now: datetime) -> None:
    """Raise `CertificateForeign` unless `serial` was issued to this member and not revoked, `CertificateExpired`."""
    held, peer = reading.certificate(serial), f"{role}/{name}"
    if held is None or held.revoked_at is not None or (held.role, held.name) != (role, name):
        raise CertificateForeign(peer=peer)
    if held.ends_at <= now:
        raise CertificateExpired(peer=peer)


def is_member_now(reading: Reading, role: Role, name: str, now: datetime) -> bool:
    """Whether a member holds any certificate that is neither revoked nor expired."""
    return any(held.revoked_at is None and held.ends_at > now for held in reading.certificates(role, name))
