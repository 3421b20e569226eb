"""Rows for tests of the store and of what uses it."""

from datetime import UTC, datetime

from coordinator.store.records import Submission
from shared.ids import AgreementId, Sha256, SiteId, Uid
from shared.signed import Signed

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SITE_ID = SiteId("123456")
AGREEMENT = AgreementId("A-0123456789ab")


def make_submission(number: int, site_id: SiteId = SITE_ID) -> Submission:
    """A row that differs by `number`."""
    signed = Signed(document=f'{{"n":{number}}}', signature="c2ln")
    return Submission(
        id=Sha256(f"{number:064x}"),
        site_id=site_id,
        contents_sha256=Sha256(f"{number:064x}"),
        agreement=AGREEMENT,
        agreement_version=1,
        study=Uid(f"2.25.{number}"),
        sequence=number,
        ciphertext_sha256=Sha256("f" * 64),
        ciphertext_size=2**40,
        manifest=signed,
        receipt=signed,
        received_at=NOW,
    )
