"""What one file names, at any depth, is in none of the study's files."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.identifiers import Identifiers
from site_node.deidentify.study_reader import StudyReader, opened
from site_node.study import Deidentified, Identity
from tests.factories.deidentified import PROFILE, file_of, run_bytes, run_one, run_study
from tests.factories.dicom import make_ct, make_dx, write_file


def other_id(number: str) -> Items:
    """OtherPatientIDsSequence with one number."""
    item = Dataset()
    item.PatientID = number
    return Items([item])


def test_a_number_of_another_depth_is_cut(tmp_path: Path) -> None:
    """A number that only OtherPatientIDsSequence holds is cut out of a description."""
    dataset = make_dx(OtherPatientIDsSequence=other_id("QX77123"), SeriesDescription="chest QX77123 PA")
    assert run_one(tmp_path, dataset).dataset.SeriesDescription == "chest PA"


def test_who_made_a_device_is_no_place_of_the_patients(tmp_path: Path) -> None:
    """What ContributingEquipmentSequence calls an institution is mostly a vendor; a person in it is a person."""
    equipment = Dataset()
    equipment.InstitutionName, equipment.OperatorsName = "Tracker Systems", "Contrast^Paula"
    for keyword, left in (("ContributingEquipmentSequence", "Tracker chest"), ("ReferencedStudySequence", "chest")):
        dataset = make_dx(SeriesDescription="Tracker Paula chest", **{keyword: Items([equipment])})
        assert run_one(tmp_path / keyword, dataset).dataset.SeriesDescription == left


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_what_says_that_it_is_a_persons_name_names_somebody(tmp_path: Path, syntax: UID) -> None:
    """Whatever its tag is, in a file that both readers can read."""
    dataset = make_dx(SeriesDescription="Tracker chest")
    dataset.add_new(0x00090010, "LO", "A MAKER")
    dataset.add_new(0x00091002, "PN", "Tracker^Paula")
    assert run_one(tmp_path / "named", dataset, syntax).dataset.SeriesDescription == "chest"
    dataset.add_new(0x00091002, "LO", "Tracker")
    assert run_one(tmp_path / "not", dataset, syntax).dataset.SeriesDescription == "Tracker chest"


def test_short_names_are_not_looked_for_among_other_bytes() -> None:
    """Four letters occur by chance; a number is long enough by itself."""
    identifiers = Identifiers(names=frozenset({"anna", "berta"}), numbers=frozenset({"447a"}))
    assert identifiers.telling() == {"berta", "447a"}


def test_a_number_of_a_sibling_is_cut(tmp_path: Path) -> None:
    """A number that another file of the study holds is cut too, whichever file comes first."""
    for place in (0, -1):
        datasets = make_ct(slices=3, SeriesDescription="thorax QX77123 thin")
        datasets[place].OtherPatientIDsSequence = other_id("QX77123")
        result = run_study(tmp_path / str(place), datasets)
        assert isinstance(result, Deidentified)
        descriptions = {pydicom.dcmread(instance.path).SeriesDescription for instance in result.instances}
        assert descriptions == {"thorax thin"}


def test_a_file_that_names_somebody_new_in_the_second_round_is_refused_each_time(tmp_path: Path) -> None:
    """Nobody searched the other files for that name; and seeing it once does not make it known."""
    reader = StudyReader(PROFILE, Identity(issuer="", patient_id="P7"))
    path = write_file(make_dx(), tmp_path / "file")
    reader.collect_names(path)
    write_file(make_dx(OtherPatientIDsSequence=other_id("QX77123")), path)
    for _ in range(2):
        with opened(path) as file, pytest.raises(DicomUnsupported) as error:
            reader.read_again(file, path)
        assert error.value.fields["code"] == "changed-while-reading"


def test_files_of_a_series_differ_where_they_should(tmp_path: Path) -> None:
    """Elements that repeat are reused from the file before; one that differs, appears or vanishes is its own file's."""
    datasets = make_ct(slices=12)
    for number, dataset in enumerate(datasets):
        dataset.WindowCenter = str(number % 3)
        if number % 4 == 1:
            dataset.ImageComments = "goes"
        if number % 5 == 2:
            del dataset.SliceThickness
    result = run_study(tmp_path, datasets)
    assert isinstance(result, Deidentified)
    for dataset, instance in zip(datasets, result.instances, strict=True):
        new = pydicom.dcmread(instance.path)
        assert instance.path.read_bytes() == run_one(tmp_path / instance.sop_instance_uid, dataset).raw
        assert new.WindowCenter == dataset.WindowCenter
        assert new.InstanceNumber == dataset.InstanceNumber
        assert ("SliceThickness" in new) == ("SliceThickness" in dataset)
        assert new.PixelData == dataset.PixelData


def test_a_broken_sequence_is_refused_even_where_it_would_be_removed(tmp_path: Path) -> None:
    """What cannot be walked cannot be searched for names."""
    dataset = make_dx(OtherPatientIDsSequence=other_id("QX77123"))
    content = file_of(tmp_path, dataset)
    item = content.index(b"\x10\0\x02\x10SQ") + 12
    broken = content[: item + 4] + b"\xff\0\0\0" + content[item + 8 :]
    assert run_bytes(tmp_path, dataset, broken).code == "length-past-end"


def test_what_follows_the_pixels_is_read_and_removed(tmp_path: Path) -> None:
    """Elements after a large picture are walked, though the picture is not read."""
    dataset = make_dx(rows=300)
    dataset.add_new(0xFFFCFFFC, "OB", b"planted after the pixels")
    result = run_study(tmp_path, [dataset])
    assert isinstance(result, Deidentified)
    assert b"planted" not in result.instances[0].path.read_bytes()
    assert pydicom.dcmread(result.instances[0].path).PixelData == dataset.PixelData
