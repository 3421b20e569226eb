"""The new identifiers of a site, derived from its secret and its SITEID."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from shared.errors.inputs import InvalidArgument
from shared.ids import PatientPseudonym, SiteId, Uid
from site_node.pseudonyms.names import PADDING, KeyedNames, link_of, message_of
from site_node.study import Identity

UID_ROOT = "1.2.826.0.1.3680043.10.474"  # the root of the released RICORD collections
LONGEST_SHIFT = 3652  # days: ten years
_LONGEST_UID = 64  # characters, PS3.5 section 9.1
_SHORTEST_TAIL = 28  # decimal digits: 93 bits, so that a collision stays out of reach
_MOST_REMEMBERED = 50_000  # UIDs; forgotten ones are computed again
_HASHED_DIGITS = 10**15


class PatientNumbers(Protocol):
    """The ledger's counter: a stable number from 1 for each patient, assigned by one writer."""

    def number(self, token: bytes, seal: Callable[[], bytes] | None = None) -> int:
        """The number of the patient behind `token`, an HMAC that tells the ledger nothing else.

        `seal` gives the sealed link behind the number; it is called only where none is stored yet.
        """

    def link(self, token: bytes) -> bytes | None:
        """What `seal` gave for that token; `None` where nothing is stored."""


class Pseudonyms(KeyedNames):
    """New identifiers of one site, which only an enrolled site has. Deterministic, and safe to share between threads.

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
        super().__init__(secret)
        self.site_id = site_id
        self.uid_prefix = f"{uid_root}.{site_id}."
        if _LONGEST_UID - len(self.uid_prefix) < _SHORTEST_TAIL:
            raise InvalidArgument(name="uid_root", problem="it leaves fewer than 28 digits for the new UIDs")
        self._tails = 10 ** (_LONGEST_UID - len(self.uid_prefix))
        self._numbers = numbers
        self._uids: dict[str, Uid] = {}

    def uid(self, original: str) -> Uid:
        """The new UID of `original`: the site's prefix and a decimal HMAC modulo what 64 characters leave.

        Padding is no part of a UID, so it does not change the answer. An integer prints without leading zeros, as
        PS3.5 section 9.1 asks of a component.
        """
        text = original.strip(PADDING)
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
        number = int.from_bytes(self._mac("patient", message_of(identity)), "big") % _HASHED_DIGITS
        return PatientPseudonym(f"{self.site_id}-{number:015d}")

    def numbered(self, number: int) -> PatientPseudonym:
        """The pseudonym of the patient to whom the ledger gave `number`."""
        return PatientPseudonym(f"{self.site_id}-{number:06d}")

    def shift_days(self, identity: Identity) -> int:
        """By how many days all of a patient's dates go **back**: 1..3652, one number per patient.

        The shift of an earlier contribution is kept where the ledger knows it, forward (negative) or back.
        """
        token = self.token(identity)
        sealed = self._numbers.link(token) if self._numbers is not None else None
        contribution = self.links.open(token, sealed).earlier if sealed else None
        if contribution is not None and contribution.shift_days:
            return contribution.shift_days
        return int.from_bytes(self._mac("date", message_of(identity)), "big") % LONGEST_SHIFT + 1

    def accession(self, value: str) -> str:
        """The new accession number: 16 digits, the most an SH holds (PS3.5 section 6.2). Empty stays empty."""
        text = value.strip(PADDING)
        return f"{int.from_bytes(self._mac('accession', text.encode()), 'big') % 10**16:016d}" if text else ""
