"""Studies as they lie opened at a curator's: their lists and manifests, with files of any bytes."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from coordinator.curation.opening import ARRIVAL_NAME, MANIFEST_NAME, Arrival, OpenedStudy, read_opened
from shared.crypto.contents import CLINICAL_NAME, CONTENTS_NAME, Contents, ContentsClinical, ContentsInstance
from shared.crypto.sealing import generate_identity
from shared.crypto.signing import SigningKey, sign_manifest
from shared.ids import AgreementId, PatientPseudonym, Sha256, SiteId, Uid
from shared.manifest import canonical_json

KEY, RECIPIENT = SigningKey.generate(), generate_identity().recipient
_DIGEST = Sha256("0" * 64)


def write_opened(
    out: Path,
    study: int,
    *,
    site: str = "123456",
    modality: str = "DX",
    files: Mapping[str, bytes] | None = None,
    uid: str = "",
    patient: str = "",
    series: Mapping[str, str] | None = None,
    clinical: Mapping[str, str | int] | None = None,
) -> OpenedStudy:
    """Write the opened study of that number below `out`; `files` are its instances, by UID, `series` theirs."""
    uid = Uid(uid or f"2.25.{10_000 + study}")
    instances = files or {f"{uid}.1.{number}": b"film %d" % number for number in (1, 2)}
    row = json.dumps(clinical).encode() if clinical is not None else b""
    contents = Contents(
        site_id=SiteId(site),
        agreement=AgreementId("A-" + "0" * 12),
        agreement_version=1,
        protocol_digest=_DIGEST,
        profile_digest=_DIGEST,
        study=uid,
        patient=PatientPseudonym(patient or f"{site}-{study:06d}"),
        modalities=(modality,),
        instances=tuple(
            ContentsInstance(
                series_instance_uid=Uid((series or {}).get(name, f"{uid}.1")),
                sop_instance_uid=Uid(name),
                size=len(data),
                sha256=Sha256(hashlib.sha256(data).hexdigest()),
            )
            for name, data in sorted(instances.items(), key=lambda item: ((series or {}).get(item[0], ""), item[0]))
        ),
        clinical=ContentsClinical(size=len(row), sha256=Sha256(hashlib.sha256(row).hexdigest())) if row else None,
    )
    manifest = contents.manifest(ciphertext_sha256=_DIGEST, ciphertext_size=1, recipient=RECIPIENT, sequence=study + 1)
    folder = out / site / uid
    folder.mkdir(parents=True)
    for name, data in instances.items():
        (folder / f"{name}.dcm").write_bytes(data)
    if row:
        (folder / CLINICAL_NAME).write_bytes(row)
    (folder / CONTENTS_NAME).write_bytes(canonical_json(contents))
    (folder / ARRIVAL_NAME).write_bytes(canonical_json(Arrival(number=study + 1)))
    (folder / MANIFEST_NAME).write_bytes(canonical_json(sign_manifest(manifest, KEY)))
    return read_opened(folder)
