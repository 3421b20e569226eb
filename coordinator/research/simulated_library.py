"""A simulated hospital's library, made from a folder of DICOM files and a table of labels that need not be a site's.

The folder holds the files, in folders or not, and `clinical.csv`: a column `StudyInstanceUID`, `AccessionNumber` or
`PatientID`, and a column for each clinical field that is to be counted or learned (RICORD's and MIDRC's tables do with
their heads renamed). Files are linked, never changed.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.ids import PatientPseudonym, Sha256, SiteId, Uid
from shared.protocol.loader import load_protocol
from site_node.dicom.attributes import read_attributes
from site_node.home.library import RECORD, SERIES_ATTRIBUTES, LibraryInstance, LibraryStudy, add_study, series_of

TABLE = "clinical.csv"
KEYS = ("StudyInstanceUID", "AccessionNumber", "PatientID")  # the first that the table has joins its rows
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")  # a file without one of them is left out
_ATTRIBUTES = (
    *KEYS,
    *_UIDS,
    "StudyDate",
    *SERIES_ATTRIBUTES,
)

Row = Mapping[str, str | int | float | None]


class _Instance(NamedTuple):
    file: Path
    attributes: Mapping[str, str]


def library_of(source: Path, target: Path, site: SiteId) -> Path:
    """The library in `source`, or in the home that it is; of any other folder a library made at `target`.

    Raises `SourceMissing` for a folder without DICOM files, `InvalidArgument` for a table that cannot be used.
    """
    for library in (source, source / "library"):
        if next(library.glob(f"*/{RECORD}"), None) is not None:
            return library
    studies = defaultdict[str, list[_Instance]](list)
    for instance in _instances(source):
        studies[instance.attributes["StudyInstanceUID"]].append(instance)
    if not studies:
        raise SourceMissing(source=str(source))
    key, rows = _table(source / TABLE)
    persons = sorted({instances[0].attributes.get("PatientID", study) for study, instances in studies.items()})
    numbers = {person: number for number, person in enumerate(persons, start=1)}
    for study, instances in sorted(studies.items()):
        first = instances[0].attributes
        patient = PatientPseudonym(f"{site}-{numbers[first.get('PatientID', study)]:06}")
        record, files = _record(Uid(study), patient, instances, rows.get(first.get(key, "")))
        add_study(target, record, files)
    return target


def _instances(source: Path) -> Iterator[_Instance]:
    for file in sorted(source.rglob("*")):
        if file.is_file() and file.name != TABLE:
            attributes = read_attributes(file, *_ATTRIBUTES)
            if all(Uid.pattern.fullmatch(attributes.get(name, "")) for name in _UIDS):
                yield _Instance(file, attributes)


def _table(file: Path) -> tuple[str, dict[str, Row]]:
    """The column that joins, and the other columns of each row; without a file, no rows."""
    if not file.is_file():
        return KEYS[0], {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(name=TABLE, problem="it is not a table of comma-separated text in UTF-8") from error
    if any(None in row for row in rows):
        raise InvalidArgument(name=TABLE, problem="a row of it has more cells than its head")
    head = set(rows[0]) if rows else set()
    key = next((name for name in KEYS if name in head), None)
    if key is None:
        raise InvalidArgument(name=TABLE, problem=f"it has none of the columns {', '.join(KEYS)}")
    return key, {row[key]: {name: _value(name, text) for name, text in row.items() if name not in KEYS} for row in rows}


def _value(field: str, text: str) -> str | float | None:
    """A field as a library keeps it: a number where the dictionary says so, and it is one."""
    kinds = {each.name: each.kind for each in load_protocol().clinical.fields}
    with suppress(ValueError):
        if kinds.get(field) in ("integer", "number"):
            return float(text)
    return text or None


def _record(
    study: Uid, patient: PatientPseudonym, instances: Sequence[_Instance], row: Row | None
) -> tuple[LibraryStudy, dict[str, Path]]:
    by_series = defaultdict[str, list[_Instance]](list)
    for instance in instances:
        by_series[instance.attributes["SeriesInstanceUID"]].append(instance)
    series = tuple(
        series_of(Uid(uid), len(members), members[0].attributes) for uid, members in sorted(by_series.items())
    )
    files = {
        f"{each.attributes['SeriesInstanceUID']}/{each.attributes['SOPInstanceUID']}.dcm": each for each in instances
    }
    record = LibraryStudy(
        study=study,
        patient=patient,
        study_date=instances[0].attributes.get("StudyDate", ""),
        modalities=tuple(sorted({each.modality for each in series})),
        series=series,
        instances=tuple(
            LibraryInstance(
                file=name,
                sop_instance_uid=Uid(each.attributes["SOPInstanceUID"]),
                series=Uid(each.attributes["SeriesInstanceUID"]),
                sha256=Sha256(hashlib.sha256(each.file.read_bytes()).hexdigest()),
            )
            for name, each in files.items()
        ),
        clinical=None if row is None else dict(row),
    )
    return record, {name: each.file for name, each in files.items()}
