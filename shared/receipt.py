"""The receipt of a sealed study: what the coordinator signs once the study is safe on its disk and in its store."""

from typing import Literal

from shared.agreement import Moment
from shared.frozen import Count, Frozen, LargeCount
from shared.ids import AgreementId, Sha256, SiteId, Uid


class Receipt(Frozen):
    """Names the study, what was received, and the head of the coordinator's audit chain at that moment.

    A coordinator that later cuts the tail of its log contradicts the heads in the receipts that sites hold.
    """

    format: Literal["ricord-receipt/1"] = "ricord-receipt/1"
    submission: Sha256
    site_id: SiteId
    agreement: AgreementId
    agreement_version: Count
    study: Uid
    sequence: LargeCount
    contents_sha256: Sha256
    ciphertext_sha256: Sha256
    ciphertext_size: LargeCount
    received_at: Moment
    audit_number: LargeCount
    audit_head: Sha256
