"""Whether a member's certificates are valid according to the store: revocation and expiry apply at once."""

from datetime import datetime

from coordinator.store.interface import Reading
from shared.agreement import State
from shared.crypto.pki import Role
from shared.errors.agreements import AgreementTerminated
from shared.errors.trust import CertificateExpired, CertificateForeign


def check_certificate_row(reading: Reading, serial: str, *, role: Role, name: str, now: datetime) -> None:
    """Raise `CertificateForeign` unless `serial` was issued to this member and not revoked, `CertificateExpired`.

    Raises `AgreementTerminated` where the end of a site's agreement revoked it.
    """
    row, peer = reading.certificate(serial), f"{role}/{name}"
    if row is None or (row.role, row.name) != (role, name):
        raise CertificateForeign(peer=peer)
    if row.revoked_at is not None:
        if role is Role.SITE and _is_terminated(reading, name):
            raise AgreementTerminated(moment=f"{row.revoked_at:%Y-%m-%d %H:%M} UTC")
        raise CertificateForeign(peer=peer)
    if row.ends_at <= now:
        raise CertificateExpired(peer=peer)


def _is_terminated(reading: Reading, name: str) -> bool:
    site = reading.site(name)
    agreement = None if site is None else reading.agreement(site.agreement)
    return agreement is not None and agreement.state is State.TERMINATED


def is_member_now(reading: Reading, role: Role, name: str, now: datetime) -> bool:
    """Whether a member holds any certificate that is neither revoked nor expired."""
    return any(row.revoked_at is None and row.ends_at > now for row in reading.certificates(role, name))
