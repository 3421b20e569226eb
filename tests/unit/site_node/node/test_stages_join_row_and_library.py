"""The clinical row of a study, and the library's record of it."""

import csv
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pydicom
import pytest

from shared.agreement import AgreementTerms, Mode
from shared.ids import Sha256
from shared.protocol.loader import load_protocol
from site_node.clinical.sheet import read_sheet
from site_node.home.ledger import Ledger
from site_node.home.library import add_study, load_library
from site_node.membership.record import Membership
from site_node.node.composition import SiteStages, library_record, row_for
from site_node.settings.site import SiteSettings
from site_node.study import NoRowReason
from tests.factories.pipeline import make_home
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


WHOLE = {"screen", "deidentify", "inspect", "validate", "add_to_library", "seal", "submit"}


@pytest.mark.parametrize(
    ("settings", "terms", "missing"),
    [
        ({}, {}, set[str]()),
        ({"library": False}, {}, {"add_to_library"}),
        ({"pixel_check": False}, {}, {"inspect"}),
        ({}, {"modes": (Mode.TRAINING,)}, {"seal", "submit"}),
        ({}, {"protocol_digest": Sha256("b" * 64)}, WHOLE - {"screen", "submit"}),
        ({}, {"protocol_digest": Sha256("b" * 64), "modes": ()}, WHOLE - {"screen"}),
        ({}, None, WHOLE - {"screen"}),
    ],
)
def test_agreement_and_settings_open_the_stages(
    tmp_path: Path, settings: dict[str, bool], terms: dict[str, Any] | None, missing: set[str]
) -> None:
    """Before enrolment the screen alone; under an edition that was not agreed only what is sealed goes on."""
    home = make_home(tmp_path / "home")
    signed: dict[str, Any] = {
        "protocol": "ricord", "protocol_digest": load_protocol().digest, "editions": None, "version": 1,
        "modes": (Mode.SUBMIT,),
    } | (terms or {})  # fmt: skip
    member: dict[str, Any] = {"terms": AgreementTerms.model_construct(**signed)}
    membership = None if terms is None else Membership.model_construct(**member)
    with closing(Ledger(home.ledger)) as ledger:
        site = SiteStages(home, SiteSettings.model_validate({"name": "Hospital", **settings}), ledger, membership)
        stages = site.available(Mock(), Mock())
    assert {name for name in WHOLE if getattr(stages, name) is not None} == WHOLE - missing
    is_agreed = terms is None or "protocol_digest" not in terms
    assert (stages.obstacle() is None) == is_agreed
