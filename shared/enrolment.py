"""What a newcomer signs when it asks for a certificate, and a curator when it changes its keys."""

from typing import Literal

from shared.frozen import Frozen
from shared.ids import Sha256


class Enrolment(Frozen):
    """Binds a certificate request to the Ed25519 key of its owner.

    `token_sha256` ties it to one token, or is `None` on renewal, where the caller's certificate replaces the token.
    `recipient` is the curator's age recipient and `None` for everyone else.
    """

    format: Literal["ricord-enrolment/1"] = "ricord-enrolment/1"
    csr_sha256: Sha256
    token_sha256: Sha256 | None
    recipient: str | None = None


class KeyRotation(Frozen):
    """A curator's next keys, signed by the key before: whoever trusts that one may trust these."""

    format: Literal["ricord-key-rotation/1"] = "ricord-key-rotation/1"
    name: str
    verify_key: str  # OpenSSH line of the next signing key
    recipient: str  # the next age recipient
