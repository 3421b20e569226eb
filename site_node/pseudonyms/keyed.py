"""The new identifiers of a site, derived from its secret.

HKDF-SHA-256 derives one key per purpose from the site secret, and HMAC-SHA-256 under that key does the rest: a
list of hospital numbers is no help without the secret (the 2020 protocol's unkeyed MD5 could be recomputed from one).
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from typing import Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import InvalidArgument, KeyFileInvalid
from shared.ids import PatientPseudonym, SiteId, StudyKey, Uid
from site_node.pseudonyms.sealed_link import Link, LinkSeal
from site_node.study import Identity

UID_ROOT = "1.2.826.0.1.3680043.10.474"  # the root of the released RICORD collections
SECRET_BYTES = 32
NOT_ENROLLED = SiteId("100000")  # where no SITEID is needed: a study's key does not depend on it
LONGEST_SHIFT = 3652  # days: ten years
_LONGEST_UID = 64  # characters, PS3.5 section 9.1
_SHORTEST_TAIL = 28  # decimal digits: 93 bits, so that a collision stays out of reach
_MOST_REMEMBERED = 50_000  # UIDs; forgotten ones are computed again
_PADDING = " \0"  # what DICOM pads text and UIDs with (PS3.5 section 6.2)
_HASHED_DIGITS = 10**15


class PatientNumbers(Protocol):
    """The ledger's counter: a stable number from 1 for each patient, assigned by one writer."""

    def number(self, token: bytes, seal: Callable[[], bytes] | None = None) -> int:
        """The number of the patient behind `token`, an HMAC that tells the ledger nothing else.

        `seal` gives the sealed link behind the number; it is called only where none is stored yet.
        """

    def link(self, token: bytes) -> bytes | None:
        """What `seal` gave for that token; `None` where nothing is stored."""


class Pseudonyms:
    """New identifiers of one site. Deterministic, and safe to share between threads.

    Args:
        secret: exactly 32 random bytes that never leave the site.
        site_id: SITEID, a part of every pseudonym and UID.
        numbers: the ledger's counter; without one a patient's number is 15 digits of a keyed hash.
        uid_root: the organisation's UID root; one that leaves fewer than 28 digits is refused.

    Raises:
        KeyFileInvalid: the secret is not 32 bytes.
        InvalidArgument: the UID root is too long.
    """

    def __init__(
        self, secret: bytes, site_id: SiteId, numbers: PatientNumbers | None = None, *, uid_root: str = UID_ROOT
    ) -> None:
        if len(secret) != SECRET_BYTES:
            raise KeyFileInvalid(file="the pseudonym key", kind="secret of exactly 32 bytes")
        self.site_id = site_id
        self.uid_prefix = f"{uid_root}.{site_id}."
        if _LONGEST_UID - len(self.uid_prefix) < _SHORTEST_TAIL:
            raise InvalidArgument(name="uid_root", problem="it leaves fewer than 28 digits for the new UIDs")
        self._tails = 10 ** (_LONGEST_UID - len(self.uid_prefix))
        self._numbers = numbers
        self._keys = {label: _derive(secret, label) for label in ("uid", "date", "patient", "accession", "ledger")}
        self._keys["study"] = _derive(secret, "study")
        self.links = LinkSeal(_derive(secret, "ledger/link"))
        self.file_seed = _derive(secret, "ledger/file")  # of the age identity that linkage files are sealed to
        self._uids: dict[str, Uid] = {}

    def study_key(self, study_uid: str) -> StudyKey:
        """The site's own opaque name for a study, safe in logs and file names."""
        return StudyKey(self._mac("study", study_uid.strip(_PADDING).encode())[:16].hex())

    def uid(self, original: str) -> Uid:
        """The new UID of `original`: the site's prefix and a decimal HMAC modulo what 64 characters leave.

        Padding is no part of a UID, so it does not change the answer. An integer prints without leading zeros, as
        PS3.5 section 9.1 asks of a component.
        """
        text = original.strip(_PADDING)
        known = self._uids.get(text)
        if known is None:
            tail = int.from_bytes(self._mac("uid", text.encode()), "big") % self._tails
            if len(self._uids) >= _MOST_REMEMBERED:
                self._uids.clear()
            known = self._uids[text] = Uid(f"{self.uid_prefix}{tail}")
        return known

    def patient(self, identity: Identity) -> PatientPseudonym:
        """`<SITEID>-<number>`: the ledger's number in at least six digits, else 15 digits of a keyed hash."""
        if self._numbers is not None:
            token = self.token(identity)
            number = self._numbers.number(token, partial(self.links.seal, token, link_of(identity)))
            return self.numbered(number)
        number = int.from_bytes(self._mac("patient", _message(identity)), "big") % _HASHED_DIGITS
        return PatientPseudonym(f"{self.site_id}-{number:015d}")

    def numbered(self, number: int) -> PatientPseudonym:
        """The pseudonym of the patient to whom the ledger gave `number`."""
        return PatientPseudonym(f"{self.site_id}-{number:06d}")

    def token(self, identity: Identity) -> bytes:
        """The ledger's key for a patient: 32 bytes that only the secret's holder can compute."""
        return self._mac("ledger", _message(identity))

    def shift_days(self, identity: Identity) -> int:
        """By how many days all of a patient's dates go **back**: 1..3652, one number per patient.

        The shift of an earlier contribution is kept where the ledger knows it, forward (negative) or back.
        """
        token = self.token(identity)
        sealed = self._numbers.link(token) if self._numbers is not None else None
        contribution = self.links.open(token, sealed).earlier if sealed else None
        if contribution is not None and contribution.shift_days:
            return contribution.shift_days
        return int.from_bytes(self._mac("date", _message(identity)), "big") % LONGEST_SHIFT + 1

    def accession(self, value: str) -> str:
        """The new accession number: 16 digits, the most an SH holds (PS3.5 section 6.2). Empty stays empty."""
        text = value.strip(_PADDING)
        return f"{int.from_bytes(self._mac('accession', text.encode()), 'big') % 10**16:016d}" if text else ""

    def _mac(self, label: str, message: bytes) -> bytes:
        return hmac.digest(self._keys[label], message, hashlib.sha256)


def _derive(secret: bytes, label: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"ricord-federation/pseudonyms/1/" + label.encode()).derive(secret)


def link_of(identity: Identity) -> Link:
    """The identifiers behind a patient's number, as the images have them, without padding."""
    return Link(issuer=identity.issuer.strip(_PADDING), patient_id=identity.patient_id.strip(_PADDING))


def _message(identity: Identity) -> bytes:
    """Issuer and number with the issuer's length in front, so that no two pairs read alike."""
    issuer = identity.issuer.strip(_PADDING).encode()
    return len(issuer).to_bytes(4, "big") + issuer + identity.patient_id.strip(_PADDING).encode()
