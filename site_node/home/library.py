"""The library: the site's validated, de-identified studies, kept for federated work.

`library/<new study UID>/` holds `study.json` and the instances as `<series>/<sop>.dcm`. Everything in it has passed
`validate`, so nothing here is PHI. A withdrawn study has no folder and is in no later result.
"""

import hashlib
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError

from shared.durable import link_or_copy, publish_folder, remove_folder, sync_folder, unfinished_folder, write_whole
from shared.errors.federation import SnapshotOutdated
from shared.errors.inputs import NotFound
from shared.frozen import Frozen
from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.home.snapshots import ListedStudy

RECORD = "study.json"
SERIES_ATTRIBUTES = ("Modality", "Manufacturer", "SliceThickness")
_DECODED = re.compile(r"(?P<study>[^.]+)\.(?P<unreadable>\d+)\.npy")


class LibrarySeries(Frozen):
    """One series, as federated work selects it; the attributes are those of the de-identified files."""

    uid: Uid
    modality: str
    instance_count: int = Field(ge=1)
    manufacturer: str = ""
    slice_thickness: float | None = None  # mm


def series_of(uid: Uid, instances: int, attributes: Mapping[str, str]) -> LibrarySeries:
    """The series with that many instances, by one's attributes: `SERIES_ATTRIBUTES` by keyword."""
    return LibrarySeries(
        uid=uid,
        modality=attributes.get("Modality", ""),
        instance_count=instances,
        manufacturer=attributes.get("Manufacturer", ""),
        slice_thickness=_millimetres(attributes.get("SliceThickness", "")),
    )


def _millimetres(text: str) -> float | None:
    """The number in a decimal string; `None` where it is absent or is not a finite number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class LibraryInstance(Frozen):
    """One instance: its file relative to the study's folder, and the digest it was validated under."""

    file: str
    sop_instance_uid: Uid
    series: Uid
    sha256: Sha256


class LibraryStudy(Frozen):
    """One study of the library. All identifiers are pseudonyms; `study_date` is shifted (YYYYMMDD, or empty)."""

    format: Literal["ricord-library/1"] = "ricord-library/1"
    study: Uid
    patient: PatientPseudonym
    study_date: str = ""
    modalities: tuple[str, ...]
    series: tuple[LibrarySeries, ...] = Field(min_length=1)
    instances: tuple[LibraryInstance, ...] = Field(min_length=1)
    clinical: dict[str, str | int | float | None] | None = None

    def without(self, withdrawn: Collection[str]) -> Self | None:
        """The same study without some instances; `None` where none is left, itself where it has none of them."""
        rest = tuple(each for each in self.instances if each.sop_instance_uid not in withdrawn)
        counts = Counter(each.series for each in rest)
        series = tuple(
            each.model_copy(update={"instance_count": counts[each.uid]}) for each in self.series if counts[each.uid]
        )
        modalities = tuple(sorted({each.modality for each in series}))
        return self.model_copy(update={"instances": rest, "series": series, "modalities": modalities}) if rest else None


def load_library(path: Path) -> tuple[LibraryStudy, ...]:
    """Every study in the library at `path`, ordered by its UID; an absent or empty folder holds none.

    Raises `NotFound` when a study's record is missing or damaged: a result without that study would be wrong.
    """
    return tuple(map(load_study, _folders(path)))


def list_library(path: Path) -> dict[Uid, ListedStudy]:
    """Every study in the library: whose it is, and its record's digest. Raises `NotFound` as `load_library` does."""
    return {study.study: ListedStudy(study.patient, digest) for study, digest in map(_read, _folders(path))}


def load_listed(path: Path, studies: Mapping[Uid, Sha256]) -> tuple[LibraryStudy, ...]:
    """The studies of a snapshot, by their records' digests, ordered by UID.

    Raises `SnapshotOutdated` where the library does not hold one of them as it was then.
    """
    loaded = []
    for study, wanted in sorted(studies.items()):
        try:
            record, digest = _read(path / study)
        except NotFound as error:
            raise SnapshotOutdated from error
        if digest != wanted:
            raise SnapshotOutdated
        loaded.append(record)
    return tuple(loaded)


def load_study(folder: Path) -> LibraryStudy:
    """The study whose folder this is; raises `NotFound` when its record is missing or damaged."""
    return _read(folder)[0]


def _folders(path: Path) -> list[Path]:
    folders = sorted(path.iterdir()) if path.is_dir() else []
    return [folder for folder in folders if folder.is_dir() and not folder.name.startswith(".")]


def _read(folder: Path) -> tuple[LibraryStudy, Sha256]:
    """A study's record and its digest."""
    try:
        text = (folder / RECORD).read_bytes()
        return LibraryStudy.model_validate_json(text), Sha256(hashlib.sha256(text).hexdigest())
    except (OSError, ValidationError) as error:
        raise NotFound(f"library record in {folder}", kind="readable library record", name=folder.name) from error


def add_study(library: Path, study: LibraryStudy, files: dict[str, Path]) -> Path:
    """Put a study into the library whole or not at all, and return its folder.

    `files` maps each instance's relative name to the validated file, which is linked, or copied across file systems.
    Adding the same study again replaces it, so a restarted pipeline may repeat this stage.
    """
    target = library / study.study
    with unfinished_folder(target, mode=0o700) as folder:
        for instance in study.instances:
            (folder / instance.file).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(files[instance.file], folder / instance.file)
        write_whole(folder / RECORD, study.model_dump_json(indent=1).encode())
        publish_folder(folder, target)
    return target


def decoded_folder(library: Path) -> Path:
    """Where the library's images are kept decoded for training; it can be deleted at any time."""
    return library.with_name("decoded")


def unreadable_count(library: Path) -> int:
    """How many files could not be decoded for training; each decoded study's file says it in its name."""
    names = (name for _, _, files in os.walk(decoded_folder(library)) for name in files)  # some may vanish meanwhile
    decoded = filter(None, map(_DECODED.fullmatch, names))
    return sum({match["study"]: int(match["unreadable"]) for match in decoded}.values())


def remove_study(library: Path, study: Uid) -> None:
    """Remove a study, if it is there, durably, and every decoded image."""
    if library.is_dir():
        remove_folder(library / study)
        sync_folder(library)
    remove_decoded(library)


def remove_decoded(library: Path) -> None:
    """Remove every decoded image; those of the studies that stay are made again."""
    shutil.rmtree(decoded_folder(library), ignore_errors=True)
