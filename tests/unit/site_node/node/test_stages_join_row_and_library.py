"""The clinical row of a study, and the library's record of it."""

import csv
from pathlib import Path

import pydicom

from shared.protocol.loader import load_protocol
from site_node.clinical.sheet import read_sheet
from site_node.home.library import add_study, load_library
from site_node.node.composition import library_record, row_for
from site_node.study import NoRowReason
from tests.factories.studies import make_study
from tests.factories.validated import make_validated


def write_sheet(file: Path, **keys: str) -> Path:
    with file.open("w", newline="") as target:
        rows = csv.writer(target)
        rows.writerow([*keys, "covid_status"])
        rows.writerow([*keys.values(), "positive"])
    return file


def test_a_row_joins_by_accession_or_patient_from_the_first_sheet_that_has_one(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", PatientID="P1", AccessionNumber="ACC7 ")
    dictionary = load_protocol().clinical
    sheets = [
        read_sheet(write_sheet(tmp_path / "other.csv", mrn="P2"), dictionary),
        read_sheet(write_sheet(tmp_path / "accession.csv", accession="ACC7"), dictionary),
        read_sheet(write_sheet(tmp_path / "patient.csv", mrn="P1"), dictionary),
    ]
    assert row_for(study, sheets[:1]) is NoRowReason.NO_ROW
    assert row_for(study, sheets) is sheets[1].rows[0]
    assert row_for(study, sheets[2:]) is sheets[2].rows[0]


def test_the_librarys_record_agrees_with_its_files(tmp_path: Path) -> None:
    """Counts, modalities and dates of the record are those of the files it names."""
    validated = make_validated(tmp_path / "study", slices=3)
    record, files = library_record(validated)
    folder = add_study(tmp_path / "library", record, files)
    assert load_library(tmp_path / "library") == (record,)
    datasets = [pydicom.dcmread(folder / instance.file) for instance in record.instances]
    uids = {instance.sop_instance_uid for instance in record.instances}
    assert {str(dataset.SOPInstanceUID) for dataset in datasets} == uids
    assert record.modalities == tuple(sorted({dataset.Modality for dataset in datasets}))
    assert sum(series.instance_count for series in record.series) == len(datasets)
    assert record.study_date == str(datasets[0].get("StudyDate", ""))
