"""Only the coordinator's receipt over this very study counts."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.crypto.signing import SigningKey
from shared.errors import SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.study import Sealed
from site_node.submit.outbox import checked_receipt, discard, keep_receipt, receipt_path
from tests.factories.validated import make_sealed

KEY = SigningKey.generate()


def make_receipt(path: Path, **changes: object) -> tuple[Receipt, Sealed]:
    """The right receipt for a new sealed study, with `changes`, and that study."""
    sealed = make_sealed(path).sealed
    manifest = sealed.manifest.manifest
    same = {name for name in Receipt.model_fields if name in type(manifest).model_fields and name != "format"}
    receipt = Receipt(
        submission=Sha256("1" * 64),
        received_at=datetime.now(UTC),
        audit_number=1,
        audit_head=Sha256("2" * 64),
        **manifest.model_dump(include=same),
    )
    return receipt.model_copy(update=changes), sealed


def test_the_right_receipt_is_kept_and_the_outbox_emptied(tmp_path: Path) -> None:
    """What is on disk afterwards is the receipt, as it was signed."""
    receipt, sealed = make_receipt(tmp_path)
    signed = Signed.by(KEY, receipt)
    assert checked_receipt(signed, sealed.manifest.manifest, KEY.public) == receipt
    path = keep_receipt(tmp_path / "receipts", signed, sealed.manifest.manifest)
    assert path == receipt_path(tmp_path / "receipts", sealed.manifest.manifest)
    discard(sealed)
    discard(sealed)
    assert not list(sealed.ciphertext.parent.iterdir())
    assert Signed.model_validate_json(path.read_bytes()) == signed


@pytest.mark.parametrize(
    "changes",
    [
        {"site_id": SiteId("999999")},
        {"agreement": AgreementId("A-ffffffffffff")},
        {"agreement_version": 9},
        {"study": Uid("1.2.3")},
        {"contents_sha256": Sha256("3" * 64)},
    ],
)
def test_a_receipt_for_something_else_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    """Another site, agreement, study or contents."""
    receipt, sealed = make_receipt(tmp_path, **changes)
    with pytest.raises(SignatureInvalid):
        checked_receipt(Signed.by(KEY, receipt), sealed.manifest.manifest, KEY.public)


def test_a_receipt_of_another_key_is_refused(tmp_path: Path) -> None:
    """Nobody else can say that a study arrived."""
    receipt, sealed = make_receipt(tmp_path)
    with pytest.raises(SignatureInvalid):
        checked_receipt(Signed.by(SigningKey.generate(), receipt), sealed.manifest.manifest, KEY.public)
