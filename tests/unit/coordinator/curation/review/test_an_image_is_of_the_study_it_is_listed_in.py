"""An image whose header is not of the patient, study, modality and node that its site signed for rejects the study."""

import io
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Register
from coordinator.curation.review.checking import check_opened
from coordinator.curation.review.identity import UID_ROOT, check_identity
from coordinator.curation.review.reviewing import results_of
from coordinator.curation.review.verdict import Verdict
from shared.protocol.loader import load_criteria
from site_node.pseudonyms.keyed import UID_ROOT as ROOT_OF_SITES
from tests.factories.opened import write_opened

STUDY = f"{UID_ROOT}1"
RIGHT = {
    "PatientID": "123456-000001",
    "PatientName": "123456-000001",
    "StudyInstanceUID": STUDY,
    "SeriesInstanceUID": f"{STUDY}.1",
    "Modality": "CT",
}


def image(uid: str, **values: str) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, uid
    for name, value in {**RIGHT, **values}.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def study(folder: Path, second: bytes) -> OpenedStudy:
    first = f"{STUDY}.1.1"
    files = {first: image(first), f"{STUDY}.1.2": second}
    return write_opened(folder, 1, modality="CT", files=files, uid=STUDY)


def test_a_study_of_its_site_passes(tmp_path: Path) -> None:
    """What agrees with its list has no finding; the root of UIDs is that of the sites' nodes."""
    assert not list(check_identity(study(tmp_path, image(f"{STUDY}.1.2"))))
    assert f"{ROOT_OF_SITES}." == UID_ROOT


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({"PatientID": "123456-000002"}, {"other-patient"}),
        ({"PatientName": "Doe^Jane"}, {"other-patient"}),
        ({"StudyInstanceUID": f"{STUDY}.9"}, {"other-study"}),
        ({"SeriesInstanceUID": f"{STUDY}.9"}, {"other-study"}),
        ({"SOPInstanceUID": f"{STUDY}.1.9"}, {"other-study"}),
        ({"Modality": "MR"}, {"other-modality"}),
        ({"StudyInstanceUID": "1.2.3.4"}, {"other-study", "foreign-uid"}),
        ({"SOPInstanceUID": "2.25.7"}, {"other-study", "foreign-uid"}),
    ],
)
def test_each_difference_rejects_and_names_the_image(tmp_path: Path, values: dict[str, str], codes: set[str]) -> None:
    """The finding names the image by its UID and says no value of its header."""
    results = list(check_identity(study(tmp_path, image(f"{STUDY}.1.2", **values))))
    assert {result.code for result in results} == codes
    assert all(result.verdict is Verdict.REJECT for result in results)
    assert all(result.instances == (f"{STUDY}.1.2",) for result in results)
    assert not any(value in result.reason for result in results for value in values.values())


@pytest.mark.parametrize("data", [b"", b"not dicom", b"\0" * 132 + b"DICM" + b"\xff" * 40])
def test_a_header_that_cannot_be_read_is_a_finding(tmp_path: Path, data: bytes) -> None:
    """An image that is no DICOM is named; the others are checked, and the study is in the register as checked."""
    opened = study(tmp_path, data or b"x")
    (result,) = check_identity(opened)
    assert (result.code, result.instances) == ("not-dicom", (f"{STUDY}.1.2",))
    register = Register(tmp_path / "register.sqlite")
    register.follow([opened], ())
    assert [check_opened(register, [opened], load_criteria()) for _ in range(2)] == [1, 0]
    with register.reading() as reading:
        (case,) = reading.cases()
        assert case.state is CaseState.CHECKED
        assert result in results_of(reading, case)
    register.close()
