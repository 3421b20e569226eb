"""The identifiers behind a patient's number, sealed for the ledger: only the site's secret opens them.

AES-256-GCM under a key that HKDF derives from the site secret for this alone. A row's token is its associated data, so
that the text of a row cannot replace that of another.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, ValidationError

from shared.errors.inputs import LinkageInvalid
from shared.frozen import Frozen
from site_node.study import Identity

_CHANGED = "a row was changed, or was made with another secret"
_NONCE_BYTES = 12  # NIST SP 800-38D; random, for far fewer rows than 2**32
LONGEST_KNOWN_SHIFT = 3652  # days: ten years, the most that any tool for RICORD shifted by


class EarlierContribution(Frozen):
    """A patient's earlier contribution, made with another program: its pseudonym, and its shift if that is known."""

    pseudonym: str = Field(min_length=1, max_length=64, repr=False)
    shift_days: int | None = Field(default=None, ge=-LONGEST_KNOWN_SHIFT, le=LONGEST_KNOWN_SHIFT)  # back; never 0


class Link(Frozen):
    """The hospital's own identifiers behind a number. PHI."""

    issuer: str = Field(repr=False)
    patient_id: str = Field(repr=False, min_length=1)
    earlier: EarlierContribution | None = None

    @property
    def identity(self) -> Identity:
        """The patient."""
        return Identity(patient_id=self.patient_id, issuer=self.issuer)


class Seal:
    """Seals and opens texts of the ledger's rows under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, token: bytes, text: str) -> bytes:
        """Nonce and ciphertext; every call gives other bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), token)

    def open(self, token: bytes, sealed: bytes) -> str:
        """The text; raises `LinkageInvalid` for one that this secret did not seal for this token."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], token).decode()
        except (InvalidTag, ValueError) as error:
            raise LinkageInvalid(type(error).__name__, problem=_CHANGED) from None


class LinkSeal:
    """Seals and opens links under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._seal = Seal(key)

    def seal(self, token: bytes, link: Link) -> bytes:
        """Nonce and ciphertext; every call gives other bytes."""
        return self._seal.seal(token, link.model_dump_json(exclude_defaults=True))

    def open(self, token: bytes, sealed: bytes) -> Link:
        """The link; raises `LinkageInvalid` for one that this secret did not seal for this token."""
        try:
            return Link.model_validate_json(self._seal.open(token, sealed))
        except ValidationError as error:
            raise LinkageInvalid(type(error).__name__, problem=_CHANGED) from None
