"""Sealed studies that wait, and the receipts of studies that arrived."""

from pathlib import Path

from shared.crypto.signing import VerifyKey
from shared.durable import write_whole
from shared.errors import SignatureInvalid
from shared.manifest import Manifest, canonical_json
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.study import Sealed

_SAME = ("site_id", "agreement", "agreement_version", "study", "contents_sha256")


def receipt_path(receipts: Path, manifest: Manifest) -> Path:
    """Where a study's receipt lies: `<contents digest>.json`."""
    return receipts / f"{manifest.contents_sha256}.json"


def checked_receipt(signed: Signed, manifest: Manifest, coordinator_key: VerifyKey) -> Receipt:
    """The receipt, if it is the coordinator's and for this study; else raises `SignatureInvalid`.

    A study that was sealed again and had arrived before keeps the receipt of the first ciphertext, so the ciphertext's
    digest is not compared; the contents' digest is.
    """
    receipt = signed.verified(coordinator_key, Receipt, what="the receipt")
    if any(getattr(receipt, name) != getattr(manifest, name) for name in _SAME):
        raise SignatureInvalid("for another study", what="the receipt")
    return receipt


def keep_receipt(receipts: Path, signed: Signed, manifest: Manifest) -> Path:
    """Write a checked receipt, durably."""
    receipts.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = receipt_path(receipts, manifest)
    write_whole(path, canonical_json(signed))
    return path


def discard(sealed: Sealed) -> None:
    """Delete a sealed study from the outbox: it has its receipt, or is sealed anew if it goes on."""
    for path in reversed(sealed.files):
        path.unlink(missing_ok=True)
