"""Three synthetic hospital archives, each with a clinical sheet and the expected outcome of every study.

    python -m compose.sample_hospital FOLDER --hospital 1 --seed 20

Nothing in them comes from a patient: anatomy is drawn, names are syllables. Equal arguments give equal DICOM files.
"""

import argparse
from pathlib import Path

import numpy as np
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from compose.sample.archive import Archive, clinical_row
from compose.sample.people import HOSPITALS, Person
from compose.sample.sheet import write_sheet
from compose.sample.summary import BURNED_IN_TEXT, HospitalSummary
from shared.protocol.loader import load_protocol
from site_node.study import Ending

_AGED, _MARKED = 2, {3: "L", 8: "R"}  # patients: one over 89; two whose film bears its side marker
_LATERALS = frozenset({4, 5, 9})  # patients whose study holds a lateral film too
_PLANT_EVERY = 3
_AGAIN = 8  # one film in eight is of a patient who already has one


def write_hospital(folder: Path, *, hospital: int, seed: int, radiographs: int = 48) -> HospitalSummary:
    """Write hospital 1, 2 or 3 into `folder`: `archive/` and `clinical.xlsx`.

    Args:
        folder: a folder that may exist but should be empty.
        hospital: its number; each has its own scanners, vendors and way to number patients.
        seed: equal seeds give equal archives.
        radiographs: frontal films, each a study, that pass every stage; half of them show pneumonia.
    """
    place = HOSPITALS[hospital - 1]
    archive = Archive(folder / "archive", place, np.random.default_rng([seed, hospital]), seed)
    patients = _films(archive, radiographs)
    archive.ct(patients[0], 2, DeflatedExplicitVRLittleEndian, planted=True)
    archive.ct(patients[1], 2, JPEG2000Lossless, planted=False)
    _not_submitted(archive)
    _broken(archive)
    sheet = folder / "clinical.xlsx"
    write_sheet(sheet, load_protocol("ricord").clinical, archive.rows)
    return HospitalSummary(
        folder=folder,
        archive=archive.root,
        sheet=sheet,
        studies=tuple(archive.studies),
        refused={"not-dicom": 1, "truncated": 1},
        duplicates=1,
        planted=tuple(sorted(archive.planted)),
        burned_in=tuple(archive.burned_in),
    )


def _films(archive: Archive, count: int) -> list[Person]:
    """The films to learn from; some patients come twice."""
    patients = [archive.person(age=93 if number == _AGED else None) for number in range(count - count // _AGAIN)]
    for number in range(count):
        again, index = divmod(number, len(patients))
        archive.film(
            patients[index],
            again,
            f"film {number}",
            text=None if again else _MARKED.get(index),
            lateral=not again and index in _LATERALS,
            planted=number % _PLANT_EVERY == 1,
        )
    return patients


def _not_submitted(archive: Archive) -> None:
    """Studies that the criteria exclude, or that wait for a person."""
    quarantined = Ending.QUARANTINED
    archive.film(archive.person(age=11), 0, "under age", ending=Ending.EXCLUDED, code="under-age")
    archive.lateral(archive.person(), 0)
    archive.abdomen(archive.person(), 0)
    archive.report(archive.person(), 0)
    archive.film(archive.person(), 0, "no row", ending=quarantined, code="clinical-row-missing", row=False)
    archive.film(archive.person(), 0, "no patient", ending=quarantined, code="no-patient-id", PatientID="")
    archive.rows.append(clinical_row(archive.person(), 0))  # of an exam that is not here
    for burned_in, code in (("YES", "burned-in-annotation"), (None, BURNED_IN_TEXT)):
        person = archive.person()
        text = f"{person.family.upper()} {person.birth:%d.%m.%Y}"
        archive.burned_in.append(text)
        archive.film(person, 0, code, ending=quarantined, code=code, text=text, burned_in=burned_in)


def _broken(archive: Archive) -> None:
    """What archives hold besides studies: a copy, half a file, a text."""
    first = archive.root / "000" / "IM00001.dcm"
    archive.copy(first)
    archive.cut_off(first)
    archive.text_file()


def main() -> None:
    """Write one hospital from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hospital", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--radiographs", type=int, default=48)
    options = parser.parse_args()
    summary = write_hospital(
        options.folder, hospital=options.hospital, seed=options.seed, radiographs=options.radiographs
    )
    print(f"{len(summary.studies)} studies in {summary.archive}, clinical sheet {summary.sheet}")


if __name__ == "__main__":
    main()
