"""A study as `validate` returns it a sealed one, and elements as its reader gives them."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.uid import UID, ExplicitVRLittleEndian

from shared.crypto.sealing import AgeIdentity, generate_identity
from shared.crypto.signing import SigningKey
from shared.ids import AgreementId, PatientPseudonym, Sha256, SiteId, StudyKey, Uid
from shared.protocol.loader import load_profile
from site_node.seal.package import seal
from site_node.study import Deidentified, DeidentifiedInstance, Identity, Sealed, Validated
from site_node.validate.conformance import Rules, make_rules
from site_node.validate.elements import Document, Element, Run
from site_node.validate.finding import Finding
from site_node.validate.identifiers import Collector
from site_node.validate.residual import OutputContent
from site_node.validate.search import Search
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.studies import make_instance

SITE = SiteId("123456")
PROTOCOL = Sha256("a" * 64)
PROFILE = Sha256("b" * 64)
AGREEMENT = AgreementId("A-0123456789ab")
CLINICAL = {"age": 61, "sex": "F", "temperature": 38.5, "outcome": None}


def make_validated(
    folder: Path, *, slices: int = 3, syntax: UID = ExplicitVRLittleEndian, clinical: bool = True
) -> Validated:
    """A CT series of `slices` and a frontal film in one study, as files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = [*make_ct(slices=slices), make_dx()]
    paths = [write_file(dataset, folder / f"{number}.dcm", syntax) for number, dataset in enumerate(datasets)]
    instances = tuple(_instance(path) for path in paths)
    return Validated(
        study=Deidentified(
            key=StudyKey("0" * 32),
            site_id=SITE,
            patient=PatientPseudonym("123456-000001"),
            study_instance_uid=Uid(str(datasets[0].StudyInstanceUID)),
            profile_digest=PROFILE,
            instances=instances,
            left_out=(),
            clinical=dict(CLINICAL) if clinical else None,
        ),
        digests={instance.sop_instance_uid: digest_of(instance.path) for instance in instances},
        report_sha256=Sha256("c" * 64),
        checked_at=datetime.now(UTC),
    )


class SealedStudy(NamedTuple):
    """A sealed study and what opens it."""

    sealed: Sealed
    identity: AgeIdentity
    signing: SigningKey


def make_sealed(folder: Path, study: Validated | None = None, *, site_id: SiteId = SITE) -> SealedStudy:
    """Seal `study` (or a new one) into `folder/outbox` under fresh keys."""
    identity, signing = generate_identity(), SigningKey.generate()
    sealed = seal(
        study or make_validated(folder / "library"),
        outbox=folder / "outbox",
        site_id=site_id,
        agreement=AGREEMENT,
        agreement_version=1,
        recipient=identity.recipient,
        protocol_digest=PROTOCOL,
        sequence=7,
        signing_key=signing,
    )
    return SealedStudy(sealed, identity, signing)


def _instance(path: Path) -> DeidentifiedInstance:
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    return DeidentifiedInstance(
        path=path,
        size=path.stat().st_size,
        sop_instance_uid=Uid(str(dataset.SOPInstanceUID)),
        series_instance_uid=Uid(str(dataset.SeriesInstanceUID)),
        source=make_instance(path),
    )


def digest_of(path: Path) -> Sha256:
    """SHA-256 of a file."""
    return Sha256(hashlib.sha256(path.read_bytes()).hexdigest())


def runs_of(*elements: Element) -> tuple[Run, ...]:
    """Elements of the top level as the validator's reader gives them."""
    return (tuple((element,) for element in elements),)


def search_document(document: Document, search: Search, rules: Rules) -> list[Finding]:
    """What validation's search finds in one de-identified file."""
    content = OutputContent(rules)
    content.add(document)
    return list(content.search(search))


def found_by_search(source: Iterable[Element], new: Element, *, patient_id: str = "P-1") -> list[str]:
    """Codes of what validation's search finds in one new element, of a UTF-8 source with these elements."""
    profile = load_profile()
    rules = make_rules(profile, SITE)
    empty = Document(b"", (), "", True, (), None, False, ())
    charset = Element((), 0x00080005, "CS", b"ISO_IR 192")
    collector = Collector(Identity(issuer="", patient_id=patient_id), frozenset(), profile.date_tags)
    collector.add(replace(empty, runs=runs_of(charset, *source)))
    document = replace(empty, runs=runs_of(charset, new))
    return [finding.code for finding in search_document(document, Search(collector.identifiers(), rules), rules)]
