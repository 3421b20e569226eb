"""Real input for the demonstration: a folder of DICOM files, and public chest radiographs wrapped as DX objects.

`--data DIR` may hold `dicom/` (any DICOM files; without it DIR itself is used) and `cxr/` (`metadata.csv` and
`images/*.jpg`, one row an image: file, source, patient_id, finding, pneumonia, covid, age, sex, view, offset_days). The
radiographs carry no identity, so each patient gets an invented one, which must never leave the hospital.
"""

import csv
import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from compose.sample.objects import Header, radiograph, uid, write
from compose.sample.sheet import Row, write_sheet
from shared.frozen import Frozen
from shared.protocol.loader import load_protocol

HOSPITALS = (("nih",), ("guangzhou",), ("mhh", "ieee8023"))  # by source: each hospital exposes films in its own way
FIRST_DAY = date(2020, 3, 1)
NAME, PATIENT, ACCESSION = "Wrappedimage", "CXRPATIENT", "CXRAC"  # begin the invented identities: none may leave
VIEWS = {"AP": "AP", "AP Supine": "AP", "PA": "PA", "L": "LL"}


class RealHospital(Frozen):
    """One hospital's archive and sheet on disk."""

    archive: Path
    sheet: Path
    planted: tuple[str, ...]


def write_real_hospitals(data: Path, folder: Path) -> tuple[RealHospital, ...]:
    """Write `folder/hospital-1` to `-3`, each with an archive and a clinical sheet; the data are only read."""
    films = list(_films(data / "cxr")) if (data / "cxr" / "metadata.csv").is_file() else []
    shares = _shares(data / "dicom" if (data / "dicom").is_dir() else data)
    dictionary = load_protocol("cxr-demo").clinical
    hospitals = []
    for number, (sources, share) in enumerate(zip(HOSPITALS, shares, strict=True), start=1):
        home = folder / f"hospital-{number}"
        archive = home / "archive"
        archive.mkdir(parents=True)
        for entry in share:
            _copy(entry, archive / "dicom" / entry.name)
        rows = [row for row in films if row["source"] in sources]
        for row in rows:
            _wrap(data / "cxr" / row["file"], row, archive / "films")
        write_sheet(home / "clinical.xlsx", dictionary, map(_sheet_row, rows))
        hospital = RealHospital(archive=archive, sheet=home / "clinical.xlsx", planted=(NAME, PATIENT, ACCESSION))
        hospitals.append(hospital)
    return tuple(hospitals)


def _shares(dicom: Path) -> list[list[Path]]:
    """The entries of a folder dealt to three hospitals, the largest first; a folder stays whole, as its studies do."""
    shares: list[list[Path]] = [[], [], []]
    sizes = [0, 0, 0]
    entries = [entry for entry in dicom.iterdir() if entry.name != "cxr"]
    counts = {entry: sum(1 for path in entry.rglob("*") if path.is_file()) or 1 for entry in entries}
    for entry in sorted(entries, key=lambda path: (-counts[path], path.name)):
        smallest = sizes.index(min(sizes))
        shares[smallest].append(entry)
        sizes[smallest] += counts[entry]
    return shares


def _copy(entry: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.is_dir():
        shutil.copytree(entry, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(entry, target)


def _films(cxr: Path) -> Iterator[dict[str, str]]:
    """The rows of the metadata, each with the day and the exam it belongs to."""
    exams: dict[tuple[str, str], int] = defaultdict(int)
    with (cxr / "metadata.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            exams[row["patient_id"], row["offset_days"]] += 1
            exam = f"{row['patient_id']}/{row['offset_days']}/{exams[row['patient_id'], row['offset_days']]}"
            yield {**row, "exam": exam}


def _number(*parts: str) -> str:
    """Eight digits that are the same for the same parts."""
    return str(int(hashlib.sha256("/".join(parts).encode()).hexdigest()[:12], 16) % 10**8).zfill(8)


def _patient(row: Mapping[str, str]) -> str:
    return PATIENT + _number(row["patient_id"])


def _accession(row: Mapping[str, str]) -> str:
    return ACCESSION + _number(row["exam"])


def _years(row: Mapping[str, str]) -> int | None:
    """Whole years, where one number is given."""
    try:
        return int(float(row["age"]))
    except ValueError:
        return None


def _wrap(image: Path, row: Mapping[str, str], folder: Path) -> None:
    """One JPEG as a DX object For Presentation, one study a film."""
    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("L"), dtype=np.uint8)
    day = FIRST_DAY + timedelta(days=int(row["offset_days"] or 0))
    years = _years(row)
    header = Header(
        patient_id=_patient(row),
        patient_name=f"{NAME}^{_number(row['patient_id'])}",
        birth_date="",
        sex=row["sex"],
        age=None if years is None else f"{years:03d}Y",
        study_uid=uid("cxr", row["exam"]),
        series_uid=uid("cxr", row["exam"], "series"),
        accession=_accession(row),
        study_date=f"{day:%Y%m%d}",
        description="CHEST",
        manufacturer="",
        model="",
    )
    film = radiograph(pixels, header, view=VIEWS.get(row["view"], ""), modality="DX", bits=8)
    write(film, folder / f"{_number(row['exam'])}.dcm")


def _sheet_row(row: Mapping[str, str]) -> Row:
    """The film's row in the clinical sheet, joined by accession number."""
    covid = {"1": "positive", "0": "negative"}.get(row["covid"])
    return {
        "mrn": _patient(row),
        "accession": _accession(row),
        "covid_status": covid,
        "age": _years(row),
        "sex": row["sex"] or None,
        "finding": row["finding"],
        "pneumonia": {"1": "yes", "0": "no"}.get(row["pneumonia"]),
    }
