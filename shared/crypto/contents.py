"""What is inside a sealed study: `contents.json`, which comes first and lists everything that follows.

Its canonical JSON is the study's fingerprint: it holds nothing random and no time, so the same study sealed again has
the same digest although its ciphertext differs. Member names follow from UIDs, so no list can name another place.
"""

import hashlib
import operator
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from shared.frozen import Count, Frozen, LargeCount
from shared.ids import AgreementId, PatientPseudonym, Sha256, SiteId, Uid
from shared.manifest import Manifest, canonical_json
from shared.protocol.accepted import MOST_ACCEPTED, AcceptedWord

CONTENTS_NAME = "contents.json"
CLINICAL_NAME = "clinical.json"


class Member(NamedTuple):
    """One file inside a sealed study."""

    name: str
    size: int
    sha256: Sha256


class ContentsInstance(Frozen):
    """One de-identified instance."""

    series_instance_uid: Uid
    sop_instance_uid: Uid
    size: LargeCount
    sha256: Sha256


class ContentsClinical(Frozen):
    """The de-identified clinical row, as canonical JSON."""

    size: LargeCount
    sha256: Sha256


class Contents(Frozen):
    """The list. Instances are in the order of their series, then of their own UIDs, each once."""

    format: Literal["ricord-contents/1"] = "ricord-contents/1"
    site_id: SiteId
    agreement: AgreementId
    agreement_version: Count
    protocol_digest: Sha256
    profile_digest: Sha256
    study: Uid
    patient: PatientPseudonym
    modalities: tuple[str, ...]
    instances: tuple[ContentsInstance, ...] = Field(min_length=1)
    clinical: ContentsClinical | None = None
    accepted: tuple[AcceptedWord, ...] = Field(  # words in the texts that only this site's list names
        default=(), max_length=MOST_ACCEPTED, exclude_if=operator.not_
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        keys = [(instance.series_instance_uid, instance.sop_instance_uid) for instance in self.instances]
        if keys != sorted(keys) or len({sop for _, sop in keys}) != len(keys):
            raise ValueError("instances are not in order, or one is listed twice")
        if list(self.accepted) != sorted(set(self.accepted)):
            raise ValueError("accepted words are not in order, or one is listed twice")
        return self

    def members(self) -> tuple[Member, ...]:
        """What follows `contents.json`, in order."""
        members = [Member(f"{entry.sop_instance_uid}.dcm", entry.size, entry.sha256) for entry in self.instances]
        if self.clinical is not None:
            members.append(Member(CLINICAL_NAME, self.clinical.size, self.clinical.sha256))
        return tuple(members)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the canonical JSON."""
        return Sha256(hashlib.sha256(canonical_json(self)).hexdigest())

    def manifest(self, *, ciphertext_sha256: Sha256, ciphertext_size: int, recipient: str, sequence: int) -> Manifest:
        """The manifest of these contents, sealed; a manifest fits when this returns an equal one."""
        return Manifest(
            site_id=self.site_id,
            agreement=self.agreement,
            agreement_version=self.agreement_version,
            protocol_digest=self.protocol_digest,
            study=self.study,
            patient=self.patient,
            series_count=len({instance.series_instance_uid for instance in self.instances}),
            instance_count=len(self.instances),
            modalities=self.modalities,
            contents_sha256=self.digest,
            ciphertext_sha256=ciphertext_sha256,
            ciphertext_size=ciphertext_size,
            recipient=recipient,
            sequence=sequence,
        )
