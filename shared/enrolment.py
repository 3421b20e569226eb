"""What a newcomer signs when it asks for a certificate."""

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
