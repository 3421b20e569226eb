"""Several versions of one image: files under one SOPInstanceUID that differ, held apart until a person chooses one."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from shared.durable import link_or_copy, sync_folder
from shared.errors.inputs import InvalidArgument, NotFound
from shared.frozen import Frozen
from shared.ids import Sha256, StudyKey
from shared.references import named
from site_node.dicom.differences import Difference, differences
from site_node.dicom.header import Header
from site_node.dicom.reading import read_header
from site_node.home.folder import SiteHome
from site_node.home.ledger import NOT_CHOSEN, OTHER_BYTES, Ledger, State, StudyEntry
from site_node.home.records import Records
from site_node.receive.folder import MIXED_PATIENTS, NO_PATIENT_ID
from site_node.study import Instance, Received


class ImageVersions(Frozen):
    """The files of one image by opaque name, and in what each differs from the first. Values are PHI."""

    names: tuple[str, ...]
    attributes: tuple[str, ...]  # in which any two differ, by keyword
    differences: tuple[tuple[Difference, ...], ...] = Field(exclude=True, repr=False)  # of every name but the first


def versions_of(home: SiteHome, ledger: Ledger, key: StudyKey) -> tuple[ImageVersions, ...]:
    """The images of a study of which several versions are in quarantine, in order of their names."""
    images = _by_image(home, ledger, key)
    versions = [sorted(files, key=lambda file: file.name) for files in images.values()]
    return tuple(_compared(files) for files in sorted(versions))


def _compared(files: Sequence[Path]) -> ImageVersions:
    unlike = tuple(differences(files[0], other) for other in files[1:])
    attributes = dict.fromkeys(difference.attribute for pair in unlike for difference in pair)
    names = tuple(file.stem for file in files)
    return ImageVersions(names=names, attributes=tuple(attributes), differences=unlike)


def chosen_version(home: SiteHome, ledger: Ledger, key: StudyKey, image: str) -> tuple[Instance, tuple[str, ...]]:
    """The version whose name starts with `image`, as it lies in quarantine, and the names of the others.

    Raises `NotFound`, `AmbiguousReference`.
    """
    images = list(_by_image(home, ledger, key).values())
    versions = [file for files in images for file in files]
    chosen = named(versions, image, lambda file: (file.stem,), kind="image version")
    if chosen is None:
        raise NotFound(kind="image version", name="with a name that begins so")
    with chosen.open("rb") as stream:
        sha256 = Sha256(hashlib.file_digest(stream, "sha256").hexdigest())
    others = tuple(file.stem for files in images if chosen in files for file in files if file != chosen)
    return _header(chosen).instance(chosen, chosen.stat().st_size, sha256=sha256), others


def enter_version(home: SiteHome, ledger: Ledger, entry: StudyEntry, chosen: Instance, others: tuple[str, ...]) -> None:
    """Put a version back into its study; the ledger changes last but for the record, so that it can be repeated.

    A version of another patient than the study's other images holds the study.
    """
    records = Records(home)
    record = records.find(entry.key, Received)
    if record is None:
        raise InvalidArgument(name="study", problem="its images are deleted; receive it again, then choose")
    path = home.spool / entry.key / chosen.path.name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        link_or_copy(chosen.path, path, mode=0o600)
    sync_folder(path.parent)
    rest = [old for old in record.instances if old.sop_instance_uid != chosen.sop_instance_uid and old.path.exists()]
    instances = (*rest, chosen.model_copy(update={"path": path}))
    patient = _header(path).identity
    identity = patient if patient == record.identity or not rest else None
    records.write(entry.key, record.model_copy(update={"instances": instances, "identity": identity}))
    reasons = tuple(reason for reason in entry.reasons if reason.code != OTHER_BYTES)
    if identity is None and not reasons:
        reasons = (NO_PATIENT_ID if patient is None else MIXED_PATIENTS,)
    is_held = identity is None or (entry.state is State.QUARANTINED and bool(reasons))
    ledger.hold_instances(entry.key, others, NOT_CHOSEN)
    state = State.QUARANTINED if is_held else State.RECEIVED
    names = [instance.name for instance in instances]
    ledger.add_study(entry.key, names, state=state, reasons=reasons if is_held else ())


def _by_image(home: SiteHome, ledger: Ledger, key: StudyKey) -> dict[str, list[Path]]:
    """The files of a study that are held apart as versions, by SOPInstanceUID."""
    images: defaultdict[str, list[Path]] = defaultdict(list)
    for name in ledger.names(key, OTHER_BYTES):
        file = home.quarantine / "arrivals" / f"{name}.dcm"
        if file.exists():
            images[_header(file).sop_instance_uid].append(file)
    return images


def _header(file: Path) -> Header:
    with file.open("rb") as stream:
        return read_header(stream, file.stat().st_size)
