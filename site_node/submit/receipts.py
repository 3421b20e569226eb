"""The receipts that a site holds, and the checks that a further one must pass before it counts.

A receipt says what the site's manifest says. One over an earlier ciphertext of the same contents counts where it comes
with the manifest that the site itself had signed over that.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from pydantic import ValidationError

from shared.crypto.keys import load_signing
from shared.durable import write_whole
from shared.errors.trust import ReceiptInvalid
from shared.manifest import Manifest, canonical_json
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.membership.record import Membership
from site_node.study import Sealed

SKEW = timedelta(hours=25)  # by which the coordinator's clock may differ: one that is a day off costs no study
_ORDER = timedelta(minutes=5)  # by which times may disagree with the order of audit numbers
_STATED = (
    *("submission", "site_id", "agreement", "agreement_version", "study", "sequence"),
    *("contents_sha256", "ciphertext_sha256", "ciphertext_size"),
)


class Answer(NamedTuple):
    """What the coordinator answered, unchecked: a receipt, with what tells a new one from one of an earlier arrival."""

    receipt: Signed
    manifest: Signed | None = None  # of an earlier arrival: what the site had signed then
    begun_at: datetime | None = None  # when the upload began that the receipt ends; `None`: an earlier arrival
    newest: int = 0  # the highest audit number that was held here then


class Receipts:
    """The receipts in a home. Several threads may use it."""

    def __init__(
        self, home: SiteHome, membership: Membership, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._home = home
        self._membership = membership
        self._own_key = load_signing(home.signing_key).public
        self._now = now
        self._lock = Lock()
        self._since: dict[int, str] = {}  # audit numbers that the ledger does not know yet, and their files
        with closing(Ledger(home.ledger)) as ledger:
            self._before = ledger.newest_audit_number()
            name = ledger.receipt_numbered(self._before)
        self._newest = None if name is None else _parsed(home.receipts / name)

    @property
    def newest(self) -> int:
        """The highest audit number that a receipt here names; 0 without any."""
        with self._lock:
            return max(self._before, *self._since, 0)

    @property
    def newest_path(self) -> Path | None:
        """Where the receipt with that number lies, if it can be read."""
        with self._lock:
            newest = self._newest
        path = newest and self._home.receipts / f"{newest.contents_sha256}.json"
        return path if path and path.exists() else None

    def path(self, manifest: Manifest) -> Path:
        """Where a study's receipt lies: `<contents digest>.json`."""
        return self._home.receipts / f"{manifest.contents_sha256}.json"

    def kept(self, manifest: Manifest) -> Receipt | None:
        """The receipt of the study, where there is one; it was checked when it was kept.

        Raises `SignatureInvalid` or `ReceiptInvalid` where the file was changed since.
        """
        try:
            signed = Signed.model_validate_json(self.path(manifest).read_bytes())
        except FileNotFoundError:
            return None
        receipt = signed.verified(self._membership.coordinator_key, Receipt, what="the receipt")
        _check_stated(receipt, manifest, ("submission", "study"))
        return receipt

    def keep(self, sealed: Sealed, answer: Answer) -> Receipt:
        """Write a receipt, durably, once it is checked whole.

        Raises `SignatureInvalid` unless the coordinator signed it, `ReceiptInvalid` where it says another thing than
        the manifest, a time that cannot be, or an audit number that does not rise, or is another receipt's or time's.
        """
        manifest = sealed.manifest.manifest
        receipt = answer.receipt.verified(self._membership.coordinator_key, Receipt, what="the receipt")
        arrived = self._arrived(manifest, answer)
        _check_stated(receipt, arrived, _STATED)
        earliest = answer.begun_at or self._membership.executed_at
        if answer.begun_at is None and arrived == manifest:
            earliest = datetime.fromtimestamp(sealed.ciphertext.stat().st_mtime, UTC)
        if not earliest - SKEW <= receipt.received_at <= self._now() + SKEW:
            raise ReceiptInvalid(problem="the study cannot have arrived at its time")
        path = self.path(manifest)
        self._claim_number(receipt, answer, path.name)
        write_whole(path, canonical_json(answer.receipt))
        return receipt

    def _arrived(self, manifest: Manifest, answer: Answer) -> Manifest:
        """The manifest that a receipt must be over; raises as `keep` does."""
        if answer.manifest is None:
            return manifest
        arrived = answer.manifest.verified(self._own_key, Manifest, what="the manifest of an earlier submission")
        if (arrived.submission, arrived.study) != (manifest.submission, manifest.study):
            raise ReceiptInvalid(problem="it is over another study")
        return arrived

    def _claim_number(self, receipt: Receipt, answer: Answer, name: str) -> None:
        number = receipt.audit_number
        if answer.begun_at is not None and number <= answer.newest:
            raise ReceiptInvalid(problem="its audit number does not rise")
        with self._lock:
            holder = self._since.get(number)
            if holder is None and number <= self._before:
                with closing(Ledger(self._home.ledger)) as ledger:
                    holder = ledger.receipt_numbered(number)
            if holder not in {None, name}:
                raise ReceiptInvalid(problem="its audit number is another receipt's")
            if self._newest is not None and answer.begun_at is None:
                later = receipt.received_at - self._newest.received_at
                if abs(later) > _ORDER and (later > timedelta()) != (number > self._newest.audit_number):
                    raise ReceiptInvalid(problem="its audit number is that of another time")
            self._since[number] = name
            if self._newest is None or number > self._newest.audit_number:
                self._newest = receipt


def _parsed(path: Path) -> Receipt | None:
    """A receipt that was checked when it was kept, if it can still be read."""
    with suppress(OSError, ValidationError):
        return Receipt.model_validate_json(Signed.model_validate_json(path.read_bytes()).document)
    return None


def _check_stated(receipt: Receipt, manifest: Manifest, names: tuple[str, ...]) -> None:
    """Raise `ReceiptInvalid`, naming the field, where a receipt says another thing than the manifest."""
    for name in names:
        if getattr(receipt, name) != getattr(manifest, name):
            raise ReceiptInvalid(problem=f"its {name.replace('_', ' ')} is not the manifest's")
