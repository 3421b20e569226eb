"""Small sites for tests of federated work: a library of tiny radiographs, keys, a policy."""

import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from coordinator.federation.grid import Signer
from shared.agreement import Mode
from shared.crypto.keys import make_flower, make_signing
from shared.crypto.signing import SigningKey
from shared.federation.plan import Member
from shared.federation.secure_sum.messages import Peer
from shared.ids import PatientPseudonym, Sha256, SiteId, Uid
from site_node.federate.policy import load_policy, write_default_policy
from site_node.federate.site import FederateSettings, SiteContext
from site_node.home.ledger import Ledger
from site_node.home.library import LibraryInstance, LibrarySeries, LibraryStudy, add_study, list_library

PROTOCOL = Sha256("a" * 64)
SIZE = 48


def make_site(
    folder: Path, site_id: str, coordinator: SigningKey, *, images: int = 40, fleet_address: str = "127.0.0.1:1"
) -> FederateSettings:
    """A site with `images` one-image studies, half of them with an opacity and the label `pneumonia`."""
    folder.mkdir(parents=True)
    make_signing(folder / "keys" / "signing.pem")
    make_flower(folder / "keys" / "flower.pem")
    write_default_policy(folder / "federation-policy.toml")
    fill_library(folder / "library", SiteId(site_id), images)
    return FederateSettings(
        site_id=SiteId(site_id),
        folder=folder / "federation",
        library=folder / "library",
        ledger=folder / "ledger.sqlite",
        policy=folder / "federation-policy.toml",
        contradiction=folder / "witness" / "contradiction.json",
        signing_key=folder / "keys" / "signing.pem",
        node_key=folder / "keys" / "flower.pem",
        coordinator_key=str(coordinator.public),
        protocol_digest=PROTOCOL,
        modes=(Mode.COHORT, Mode.TRAINING),
        agreement_expires_at=None,
        fleet_address=fleet_address,
        root=folder / "root.pem",
        poll_seconds=0.2,
    )


def known_of(site: FederateSettings) -> SiteContext:
    """What the app is given with each message; the snapshot is the whole library."""
    studies = {study: listed.digest for study, listed in list_library(site.library).items()}
    with closing(Ledger(site.ledger)) as ledger:
        decisions = ledger.plans.decisions()
    return SiteContext(site=site, policy=load_policy(site.policy), studies=studies, decisions=decisions)


def member_of(site: FederateSettings) -> Member:
    """The site as a plan names it."""
    key = SigningKey.from_pem(site.signing_key.read_bytes())
    return Member(site_id=site.site_id, fingerprint=key.fingerprint)


def signer_for(key: SigningKey, sites: Iterable[FederateSettings]) -> Signer:
    """Who signs the sums of a run over these sites."""
    keys = {site.site_id: SigningKey.from_pem(site.signing_key.read_bytes()).public for site in sites}
    return Signer(key, tuple(Peer(site_id=site, verify_key=str(keys[site])) for site in sorted(keys)))


def fill_library(library: Path, site_id: SiteId, images: int, **clinical: str) -> None:
    """Put one-image studies into a library, all with the same further clinical fields; deterministic for a site."""
    random = np.random.default_rng(int(site_id))
    for number in range(images):
        sick = number % 2 == 1
        study = Uid(generate_uid(entropy_srcs=[site_id, str(number)]))
        file = library.parent / "radiograph.dcm"
        write_radiograph(file, radiograph(random, sick=sick))
        name = f"{study}.1/{study}.1.1.dcm"[-200:]
        instance = LibraryInstance(file=name, sop_instance_uid=study, series=study, sha256=Sha256("0" * 64))
        record = LibraryStudy(
            study=study,
            patient=PatientPseudonym(f"{site_id}-{number:06d}"),
            modalities=("DX",),
            series=(LibrarySeries(uid=study, modality="DX", instance_count=1),),
            instances=(instance,),
            clinical={"pneumonia": "yes" if sick else "no", **clinical},
        )
        add_study(library, record, {name: file})
        file.unlink()


def radiograph(random: np.random.Generator, *, sick: bool) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    """Noise with two darker lungs, one of them with a bright spot when sick; shape (48, 48)."""
    image = random.normal(600, 30, (SIZE, SIZE))
    image[8:40, 6:20] -= 200
    image[8:40, 28:42] -= 200
    if sick:
        row, column = random.integers(12, 28), random.choice([9, 30])
        image[row : row + 8, column : column + 8] += 250
    return np.clip(image, 0, 4095).astype(np.uint16)


def write_radiograph(
    file: Path,
    pixels: np.ndarray[tuple[int, int], np.dtype[np.uint16]],
    *,
    interpretation: str = "MONOCHROME2",
    view: str = "PA",
    modality: str = "DX",
) -> None:
    """A minimal DX file."""
    dataset = Dataset()
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = modality
    dataset.ViewPosition = view
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = interpretation
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)


def set_policy(site: FederateSettings, **values: object) -> None:
    """Change settings of a site's policy file."""
    lines = site.policy.read_text().splitlines()
    for name, value in values.items():
        lines = [f"{name} = {json.dumps(value)}" if line.startswith(f"{name} ") else line for line in lines]
    site.policy.write_text("\n".join(lines) + "\n")
