"""A mixed archive as a PACS holds it, with the accession list and the clinical sheet of the hospital that requests it.

Each case says how it must end, so the table below is the whole expectation of the path's tests.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from compose.sample import objects
from tests.factories.dicom import make_ct, make_dx, write_file

Make = Callable[..., list[Dataset]]
Row = Mapping[str, object]
SLICES = 24
TEST_DAY, STUDY_DAY = date(2020, 6, 15), date(2020, 6, 18)
HEADINGS = (
    "MRN",
    "Accession number",
    "COVID-19 status",
    "Method",
    "Timing",
    "Test date",
    "Age",
    "Alternative diagnosis",
)
POSITIVE: Row = {"COVID-19 status": "positive", "Method": "rt-pcr", "Timing": "during-admission", "Test date": TEST_DAY}
NEGATIVE: Row = {"COVID-19 status": "negative", "Method": "rt-pcr", "Alternative diagnosis": "bacterial-pneumonia"}


@dataclass(frozen=True)
class Case:
    """One study of the archive: `rows` are its rows of the sheet, `end` its ending and `codes` the reasons for it."""

    name: str
    patient: str
    make: Make
    rows: tuple[Row, ...]
    end: str
    codes: frozenset[str] = frozenset()
    images: int = 1  # that leave
    listed: bool = True
    says: str | None = None  # the patient that the list names for the study, if another

    @property
    def accession(self) -> str:
        """Unlike any MRN; equal for equal names."""
        return f"AC{int(hashlib.sha256(self.name.encode()).hexdigest()[:9], 16):011d}"

    @property
    def study_uid(self) -> str:
        """As the factories make it."""
        return objects.uid(self.name)

    def datasets(self) -> list[Dataset]:
        """The study's images."""
        return self.make(study=self.name, PatientID=self.patient, AccessionNumber=self.accession)


def _ct(**changes: Any) -> list[Dataset]:
    return make_ct(slices=SLICES, rows=32, **changes)


def _ct_with_scout_and_coronal(**changes: Any) -> list[Dataset]:
    scout, coronal = (make_ct(slices=3, rows=32, plane=plane, **changes) for plane in ("scout", "coronal"))
    return [*_ct(**changes), *scout, *coronal]


def _coronal(**changes: Any) -> list[Dataset]:
    return make_ct(slices=8, rows=32, plane="coronal", **changes)


def _film(view: str = "PA", **fixed: Any) -> Make:
    def make(**changes: Any) -> list[Dataset]:
        return [make_dx(view=view, **{**fixed, **changes})]

    return make


def _film_with_lateral(**changes: Any) -> list[Dataset]:
    return [*_film("PA")(**changes), *_film("LL")(**changes)]


def _mr(**changes: Any) -> list[Dataset]:
    return make_ct(slices=8, rows=32, Modality="MR", SOPClassUID=MRImageStorage, **changes)


def _abdomen(**changes: Any) -> list[Dataset]:
    return make_ct(
        slices=8, rows=32, BodyPartExamined="ABDOMEN", StudyDescription="CT ABDOMEN", SeriesDescription="Abdomen 3.0",
        **changes,
    )  # fmt: skip


def _case(name: str, patient: str, make: Make, row: Row | None, end: str, *codes: str) -> Case:
    return Case(name, patient, make, (row,) if row is not None else (), end, frozenset(codes))


CASES = (
    # eligible
    Case("ct", "MRN10001", _ct_with_scout_and_coronal, (POSITIVE,), "submitted", images=SLICES),
    Case("film of the same patient", "MRN10001", _film(), (POSITIVE,), "submitted"),
    Case("film and lateral", "MRN10002", _film_with_lateral, (POSITIVE,), "submitted"),
    Case("negative", "MRN10003", _ct, (NEGATIVE,), "submitted", images=SLICES),
    Case("92 years old", "MRN10004", _film("AP", modality="CR", PatientBirthDate="19280101", PatientAge="092Y"),
         ({**POSITIVE, "Age": 92},), "submitted"),
    Case("row of the patient", "MRN10005", _film(), ({**POSITIVE, "Accession number": None},), "submitted"),
    # left out by the criteria
    _case("coronal only", "MRN10006", _coronal, POSITIVE, "excluded", "not-axial"),
    _case("abdomen", "MRN10007", _abdomen, POSITIVE, "excluded", "region"),
    _case("mr", "MRN10008", _mr, POSITIVE, "excluded", "modality"),
    _case("child", "MRN10009", _film(PatientBirthDate="20040101", PatientAge="016Y"), POSITIVE,
          "excluded", "under-age"),
    _case("lateral only", "MRN10010", _film("LL"), POSITIVE, "excluded", "view"),
    # for a person
    _case("no patient", "", _film(), None, "quarantined", "no-patient-id"),
    _case("no row", "MRN10012", _film(), None, "quarantined", "clinical-row-missing"),
    _case("no status", "MRN10013", _film(), {**POSITIVE, "COVID-19 status": None},
          "quarantined", "covid-status-missing"),
    _case("status is a formula", "MRN10014", _film(), {**POSITIVE, "COVID-19 status": '=LOWER("POSITIVE")'},
          "quarantined", "covid-status-missing"),
    _case("row of another exam", "MRN10015", _film(), {**POSITIVE, "Accession number": "AC0000000001"},
          "quarantined", "clinical-other-exam"),
    _case("row of another patient", "MRN10016", _film(), {**POSITIVE, "MRN": "MRN10099"},
          "quarantined", "clinical-keys-disagree"),
    Case("two rows", "MRN10017", _film(), (POSITIVE, NEGATIVE), "quarantined", frozenset({"clinical-rows-several"})),
    # not fetched
    Case("of another than listed", "MRN10018", _film(), (POSITIVE,), "other-patient", says="MRN10019"),
    Case("not asked for", "MRN10020", _film(), (POSITIVE,), "", listed=False),
)  # fmt: skip
SHARED, UNKNOWN = "AC0000000777", "AC0000000404"


def archive() -> list[Dataset]:
    """Everything the PACS holds: the cases, and two patients under one accession number."""
    shared = [make_dx(study=f"shared {who}", PatientID=who, AccessionNumber=SHARED) for who in ("MRN20001", "MRN20002")]
    return [*(dataset for case in CASES for dataset in case.datasets()), *shared]


def write_list(file: Path) -> dict[int, str]:
    """The list of accession numbers, XLSX; returns the reason of each row that must end with one."""
    rows: list[tuple[str, str, str]] = [
        (case.accession, case.says or case.patient, case.end if case.says else "") for case in CASES if case.listed
    ]
    rows += [
        (SHARED, "", "several-patients"),
        (UNKNOWN, "", "unknown-accession"),
        (CASES[0].accession, CASES[0].patient, "duplicate-in-list"),
        (CASES[1].accession, "MRN10099", "several-patients-in-list"),
        ("AC*", "", "wildcard"),
        ("", "MRN10021", "empty"),
    ]
    book = Workbook()
    assert book.active is not None
    book.active.append(["Our RICORD patients"])
    book.active.append(["Accession", "MRN"])
    for accession, patient, _ in rows:
        book.active.append([accession or None, patient or None])
    book.save(file)
    return {number: code for number, (_, _, code) in enumerate(rows, start=3) if code}


def write_sheet(file: Path) -> tuple[dict[int, str], list[tuple[int, str]]]:
    """The clinical sheet, XLSX; returns the reason of each row that joins no study, and the problems of its cells."""
    book = Workbook()
    assert book.active is not None
    book.active.append(list(HEADINGS))
    number = 1
    unjoined: dict[int, str] = {}
    problems = [(1, "mixed-dates")]  # one date below is text
    reasons = {
        "row of another exam": "no-study",
        "row of another patient": "keys-disagree",
        "two rows": "duplicate-row",
    }
    for case in CASES:
        for row in case.rows:
            number += 1
            keys = {"MRN": case.patient, "Accession number": case.accession}
            book.active.append([{**keys, **row}.get(heading) for heading in HEADINGS])
            code = reasons.get(case.name) or (
                "" if case.end in {"submitted", "excluded", "quarantined"} else "no-study"
            )
            if code:
                unjoined[number] = code
            problems += [(number, "duplicate-row")] if case.name == "two rows" else []
            problems += [(number, "formula")] if "formula" in case.name else []
    more: tuple[tuple[Row, str, str], ...] = (
        ({"MRN": "MRN30001", **POSITIVE, "Test date": "06/15/2020"}, "no-study", "date-order"),
        ({"Age": 40}, "no-key", "no-key"),
    )
    for row, code, problem in more:
        number += 1
        book.active.append([row.get(heading) for heading in HEADINGS])
        unjoined[number] = code
        problems.append((number, problem))
    book.save(file)
    return unjoined, problems


def write_export(folder: Path) -> None:
    """An export for the inbox.

    A film twice, one with another version of itself, two patients in one study, one that the PACS has too, a letter.
    """
    folder.mkdir()
    twice = make_dx(study="export twice", PatientID="MRN40001", AccessionNumber="AC40001")
    for name in ("a.dcm", "b.dcm"):
        write_file(twice, folder / name)
    for name, text in (("c.dcm", "CHEST"), ("d.dcm", "CHEST PA")):
        film = make_dx(study="export versions", PatientID="MRN40002", AccessionNumber="AC40002", StudyDescription=text)
        write_file(film, folder / name)
    for name, patient in (("e.dcm", "MRN40003"), ("f.dcm", "MRN40004")):
        film = make_dx(study="export mixed", PatientID=patient, AccessionNumber="AC40003")
        film.SOPInstanceUID = objects.uid("export mixed", patient)
        write_file(film, folder / name)
    (film,) = next(case for case in CASES if case.name == "film of the same patient").datasets()
    write_file(film, folder / "g.dcm")  # the PACS has it too
    (folder / "letter.txt").write_text("dear colleague")
