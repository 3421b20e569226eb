"""The manifest of a sealed study: what the coordinator may know of it, in canonical JSON, signed by the site.

Canonical JSON here is RFC 8785 for the values manifests hold (text, integers, booleans, lists, objects; no floats):
keys sorted, no white space, UTF-8.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from shared.frozen import Count, Frozen, LargeCount
from shared.ids import AgreementId, PatientPseudonym, Sha256, SiteId, Uid


def canonical_json(value: Frozen | dict[str, Any] | list[Any]) -> bytes:
    """The canonical bytes of a value; equal values give equal bytes. Raises `ValueError` on NaN and infinities."""
    plain = value.model_dump(mode="json") if isinstance(value, Frozen) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class Manifest(Frozen):
    """What travels in clear beside a sealed study. It identifies no patient and no image."""

    format: Literal["ricord-manifest/1"] = "ricord-manifest/1"
    site_id: SiteId
    agreement: AgreementId
    agreement_version: Count
    protocol_digest: Sha256
    study: Uid  # the new StudyInstanceUID
    patient: PatientPseudonym
    series_count: Count
    instance_count: Count
    modalities: tuple[str, ...] = Field(max_length=100)
    contents_sha256: Sha256  # of contents.json inside
    ciphertext_sha256: Sha256
    ciphertext_size: LargeCount
    recipient: str  # the curator's age recipient it is sealed to
    sequence: LargeCount  # the site's own count; gaps are reported

    @property
    def submission(self) -> Sha256:
        """The id of its submission: the same contents under the same agreement are one, however often sealed."""
        key = [self.site_id, self.contents_sha256, self.agreement, self.agreement_version]
        return Sha256(hashlib.sha256(canonical_json(key)).hexdigest())


class SignedManifest(Frozen):
    """A manifest and the site's Ed25519 signature (base64) over its canonical JSON."""

    manifest: Manifest
    signature: str
