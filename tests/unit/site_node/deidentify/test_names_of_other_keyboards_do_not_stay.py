"""Names in the letters of another keyboard do not stay, nor do the less known numbers of the patient."""

from pathlib import Path

import pytest

from tests.factories.deidentified import run_one
from tests.factories.dicom import make_dx

NAMES = [
    ("Y\u0131ld\u0131r\u0131m^I\u015f\u0131l", "YILDIRIM"),
    ("Sørensen^Åse", "SORENSEN"),
    ("Sørensen^Åse", "SOERENSEN"),
    ("Łukaszewski^Jan", "LUKASZEWSKI"),
    ("Müller^Jörg", "MUELLER"),
    ("Müller^Jörg", "JOERG"),
    ("Đorđević^Ana", "DORDEVIC"),
    ("Æsgaard^B", "AESGAARD"),
    ("Þórsson^Jón", "THORSSON"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "ヤマダ"),
]


@pytest.mark.parametrize(("name", "text"), NAMES)
def test_a_name_on_another_keyboard(tmp_path: Path, name: str, text: str) -> None:
    """A letter that a keyboard lacks is written as the one or two that stand for it."""
    dataset = make_dx(SpecificCharacterSet="ISO_IR 192", PatientName=name, SeriesDescription=f"PA {text}")
    assert run_one(tmp_path, dataset).dataset.SeriesDescription == "PA"


@pytest.mark.parametrize(
    "keyword", ["ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ServiceEpisodeID", "StudyID"]
)
def test_other_numbers_of_the_patient(tmp_path: Path, keyword: str) -> None:
    """A number that a trial, a visit or a study gave is one of the patient's too."""
    dataset = make_dx(SeriesDescription="PA 71234x", ConvolutionKernel="B-71234", **{keyword: "S-71234"})  # type: ignore[arg-type]  # any
    new = run_one(tmp_path, dataset).dataset
    assert new.SeriesDescription == "PA"
    assert new.ConvolutionKernel == "B"  # a kernel of Philips
