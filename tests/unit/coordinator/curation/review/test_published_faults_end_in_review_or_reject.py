"""What RICORD's own releases held is held back by a check, and a study of the protocol by none."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.curation.opening import OpenedStudy, list_opened
from coordinator.curation.review.checking import study_checks
from coordinator.curation.review.verdict import CheckResult, Verdict, worst
from shared.protocol.loader import load_criteria
from tests.factories.dicom import make_ct, make_dx
from tests.factories.reviewed import open_datasets

HELD = {Verdict.REVIEW, Verdict.REJECT}
CORONAL = [1, 0, 0, 0, 0, -1]
ABDOMEN = {"BodyPartExamined": "ABDOMEN", "SeriesDescription": "ABDOMEN", "StudyDescription": None} | dict.fromkeys(
    ("AnatomicRegionSequence", "ProtocolName", "RequestedProcedureCodeSequence", "ProcedureCodeSequence")
)


Checking = Callable[[OpenedStudy], list[CheckResult]]


@pytest.fixture(scope="module")
def check() -> Iterator[Checking]:
    with study_checks(load_criteria(), (), Counter()) as checks:
        yield lambda study: [result for each in checks for result in each(study)]


def test_a_study_of_the_protocol_passes(check: Checking, tmp_path: Path) -> None:
    """A frontal film and an axial CT as a site de-identified them: nothing asks for a person."""
    for number, datasets in enumerate(([make_dx()], make_ct(slices=6, study="study-2"))):
        assert worst(check(open_datasets(tmp_path, datasets, number))) is Verdict.WARN  # it has no clinical row


@pytest.mark.parametrize(
    ("code", "kind", "faults"),
    [
        ("under-age", "dx", {"PatientAge": "015Y"}),
        ("not-axial", "ct", {"ImageOrientationPatient": CORONAL}),
        ("localizer", "ct", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        ("view", "dx", {"ViewPosition": "LL"}),
        ("region-conflict", "dx", {"BodyPartExamined": "ABDOMEN"}),
        ("region", "dx", ABDOMEN),
        ("other-patient", "dx", {"PatientID": "SITE2-000123"}),
        ("foreign-uid", "dx", {"SOPInstanceUID": "1.2.840.113619.2.55.1"}),
        ("said-to-be-burned-in", "dx", {"BurnedInAnnotation": "YES"}),
    ],
)
def test_each_published_fault_is_held(
    check: Checking, tmp_path: Path, code: str, kind: str, faults: dict[str, Any]
) -> None:
    """A minor, coronals, localizers, a lateral, an abdomen, `SITE2`, two UID roots."""
    datasets = [make_dx()] if kind == "dx" else make_ct(slices=6)
    results = check(open_datasets(tmp_path, datasets, **faults))
    assert code in {result.code for result in results if result.verdict in HELD}
    planted = [str(value) for value in faults.values() if isinstance(value, str)]
    assert not any(value in result.reason for result in results for value in planted if value != "YES")


def test_a_folder_of_another_site_is_not_opened(tmp_path: Path) -> None:
    """A site's folder named `SITE2` is no site's: what lies there is not listed, so nobody can accept it."""
    study = open_datasets(tmp_path, [make_dx()])
    shutil.copytree(study.folder, tmp_path / "opened" / "SITE2" / study.folder.name)
    assert [each.folder for each in list_opened(tmp_path / "opened")] == [study.folder]
