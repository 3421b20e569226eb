"""A site home with tiny studies, and minimal stages under the pipeline's rules: deterministic, on real files."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from shared.crypto.signing import SigningKey, sign_manifest
from shared.durable import write_whole
from shared.ids import AgreementId, PatientPseudonym, Sha256, SiteId, StudyKey, Uid
from shared.manifest import Manifest
from site_node.blanking import Blanking
from site_node.home.folder import SiteHome, init_home
from site_node.home.ledger import Ledger
from site_node.node.intake import enter_reception
from site_node.node.stages import Stages
from site_node.receive.folder import Reception
from site_node.study import (
    Deidentified,
    DeidentifiedInstance,
    Ending,
    Excluded,
    Identity,
    Included,
    Instance,
    LeftOut,
    Reason,
    Received,
    Refused,
    Review,
    Sealed,
    Severity,
    Submitted,
    Validated,
)
from tests.factories.validated import digest_of

SITE = SiteId("123456")
DIGEST = Sha256("0" * 64)
NOW = datetime(2024, 1, 1, tzinfo=UTC)


def reason(code: str, severity: Severity = Severity.REJECT) -> Reason:
    return Reason(code=code, message="A sentence.", severity=severity)


def make_home(folder: Path) -> SiteHome:
    """A new home, its keys included."""
    return init_home(folder, name="Hospital of the test")


def key_of(name: str) -> StudyKey:
    return StudyKey(hashlib.sha256(name.encode()).hexdigest()[:32])


def make_study(home: SiteHome, name: str, files: int = 2, identity: Identity | None = None) -> Received:
    """A study in the spool whose `name` decides its outcome in the stages below, e.g. `excluded-7`."""
    folder = home.spool / key_of(name)
    folder.mkdir(exist_ok=True, mode=0o700)
    instances = []
    for number in range(files):
        content = f"{name}/{number}".encode()
        digest = Sha256(hashlib.sha256(content).hexdigest())
        path = folder / f"{digest[:32]}.dcm"
        path.write_bytes(content)
        instances.append(
            Instance(
                path=path,
                size=len(content),
                sha256=digest,
                sop_instance_uid=f"{name}.{number}",
                sop_class_uid="1.2",
                series_instance_uid=f"{name}.series",
                transfer_syntax_uid="1.2.840.10008.1.2.1",
            )
        )
    identity = identity or Identity(issuer="", patient_id=f"patient of {name}")
    return Received(key=key_of(name), study_instance_uid=name, identity=identity, instances=tuple(instances))


def enter(home: SiteHome, ledger: Ledger, *studies: Received) -> None:
    """Enter studies as one reception."""
    enter_reception(Reception(studies=studies, refused=(), duplicates=0), home=home, ledger=ledger)


def make_stages(home: SiteHome, submitted: Path, *, wait: bool = False) -> Stages:
    """Stages whose outcome the study's name decides; `submitted` stands in for the coordinator."""
    signing_key = SigningKey.generate()
    submitted.mkdir(exist_ok=True)

    def seal(study: Validated, sequence: int) -> Sealed:
        contents = hashlib.sha256(
            b"".join(instance.path.read_bytes() for instance in study.study.instances)
        ).hexdigest()
        ciphertext = home.outbox / f"{contents}.age"
        write_whole(ciphertext, b"sealed")
        manifest = Manifest(
            site_id=SITE,
            agreement=AgreementId("A-0123456789ab"),
            agreement_version=1,
            protocol_digest=DIGEST,
            study=study.study.study_instance_uid,
            patient=study.study.patient,
            series_count=1,
            instance_count=len(study.study.instances),
            modalities=("CT",),
            contents_sha256=Sha256(contents),
            ciphertext_sha256=DIGEST,
            ciphertext_size=6,
            recipient="age1test",
            sequence=sequence,
        )
        signed = sign_manifest(manifest, signing_key)
        write_whole(home.outbox / f"{contents}.manifest.json", signed.model_dump_json().encode())
        return Sealed(key=study.key, ciphertext=ciphertext, manifest=signed)

    def submit(sealed: Sealed) -> Submitted:
        manifest = sealed.manifest.manifest
        assert sealed.ciphertext.exists()
        # As at the coordinator, the same contents again are the same submission.
        write_whole(submitted / f"{manifest.contents_sha256}.json", manifest.model_dump_json().encode())
        receipt = home.receipts / f"{manifest.contents_sha256}.json"
        write_whole(receipt, b"{}")
        number = manifest.sequence
        return Submitted(key=sealed.key, receipt=receipt, sequence=number, received_at=NOW, audit_number=number)

    return Stages(
        screen=screen,
        deidentify=deidentify,
        inspect=inspect,
        validate=validate,
        add_to_library=lambda study: (home.library / study.study.study_instance_uid).mkdir(exist_ok=True),
        seal=seal,
        submit=None if wait else submit,
    )


def screen(study: Received, released: frozenset[str]) -> Included | Review | Excluded:
    name = study.study_instance_uid
    if name.startswith("defect"):
        raise ZeroDivisionError(name)
    if name.startswith("excluded"):
        return Excluded(study=study, reasons=(reason("not-chest"), reason("slight", Severity.WARN)))
    if name.startswith("review") and "look" not in released:
        return Review(study=study, reasons=(reason("look", Severity.REVIEW),))
    if name.startswith("partly"):
        scout = LeftOut(instance=study.instances[0], ending=Ending.EXCLUDED, reasons=(reason("scout"),))
        return Included(study=study, kept=study.instances[1:], left_out=(scout,), warnings=())
    return Included(study=study, kept=study.instances, left_out=(), warnings=())


def deidentify(study: Included, out: Path, blank: Blanking | None) -> Deidentified | Refused:
    del blank
    name = study.study.study_instance_uid
    if name.startswith("refused"):
        return Refused(key=study.key, ending=Ending.REFUSED, reasons=(reason("corrupt"),))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    instances = []
    for number, source in enumerate(study.kept):
        content = b"clean " + source.path.read_bytes()
        path = out / f"{number}.dcm"
        path.write_bytes(content)
        instances.append(
            DeidentifiedInstance(
                path=path,
                size=len(content),
                sop_instance_uid=Uid(f"1.2.{number}"),
                series_instance_uid=Uid("1.2"),
                source=source,
            )
        )
    return Deidentified(
        key=study.key,
        site_id=SITE,
        patient=PatientPseudonym("123456-000001"),
        study_instance_uid=Uid(f"1.2.{int(study.key[:8], 16)}"),
        profile_digest=DIGEST,
        instances=tuple(instances),
        left_out=study.left_out,
    )


def inspect(study: Deidentified, released: frozenset[str]) -> Deidentified | Refused:
    if study.instances[0].source.sop_instance_uid.startswith("burned") and "burned-in-text" not in released:
        reasons = (reason("burned-in-text", Severity.REVIEW),)
        return Refused(key=study.key, ending=Ending.QUARANTINED, reasons=reasons)
    return study


def validate(included: Included, output: Deidentified, report: Path, blank: Blanking | None) -> Validated | Refused:
    del blank
    if included.study.study_instance_uid.startswith("leaking"):
        return Refused(key=included.key, ending=Ending.REFUSED, reasons=(reason("residual"),))
    write_whole(report, b"{}")
    digests = {instance.sop_instance_uid: digest_of(instance.path) for instance in output.instances}
    return Validated(study=output, digests=digests, report_sha256=DIGEST, checked_at=NOW)
