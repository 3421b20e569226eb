"""Any folder of DICOM files with a table of labels can play a hospital."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import generate_uid

from coordinator.research.simulated_library import library_of
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.federation.task import TrainingTask
from shared.ids import SiteId
from site_node.federate.dataset import load_split
from site_node.home.library import load_library
from tests.factories.site_homes import fill_library, radiograph, write_radiograph

SITE = SiteId("200001")
TASK = TrainingTask(image_size=32)


def write_film(file: Path, *, patient: str, study: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_radiograph(file, radiograph(np.random.default_rng(1), sick=False))
    dataset = pydicom.dcmread(file)
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = patient, study, generate_uid()
    dataset.save_as(file)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three films of two patients, beside a file that is none."""
    for number, patient in enumerate(("P2", "P1", "P2"), start=1):
        write_film(tmp_path / "source" / patient / f"{number}.dcm", patient=patient, study=f"1.2.{number}")
    (tmp_path / "source" / "notes.txt").write_text("no DICOM")
    return tmp_path / "source"


@pytest.mark.parametrize("head", ["PatientID", "StudyInstanceUID"])
def test_films_and_rows_are_joined(source: Path, tmp_path: Path, head: str) -> None:
    """Each study has its row, by the first column that joins, with numbers as such; patients become pseudonyms."""
    keys = ("P1", "P2") if head == "PatientID" else ("1.2.2", "1.2.1")
    rows = (f"{head},pneumonia,age,crp", f"{keys[0]},no,,high", f"{keys[1]},yes,41,2.5")
    (source / "clinical.csv").write_text("\n".join(rows) + "\n")
    library = library_of(source, tmp_path / "library", SITE)
    studies = load_library(library)
    assert [study.patient for study in studies] == ["200001-000002", "200001-000001", "200001-000002"]
    assert studies[0].clinical == {"pneumonia": "yes", "age": 41.0, "crp": 2.5}
    assert studies[1].clinical == {"pneumonia": "no", "age": None, "crp": "high"}
    split = load_split(library, studies, TASK)
    assert split.patients == 2
    assert len(list(source.rglob("*.dcm"))) == 3


def test_a_library_is_used_as_it_is(tmp_path: Path) -> None:
    """A library, or a home that holds one, is not copied."""
    (tmp_path / "home").mkdir()
    fill_library(tmp_path / "home" / "library", SITE, 2)
    for source in (tmp_path / "home", tmp_path / "home" / "library"):
        assert library_of(source, tmp_path / "other", SITE) == tmp_path / "home" / "library"
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_used_is_named(source: Path, tmp_path: Path) -> None:
    """A folder without films, and a table that joins nothing."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceMissing):
        library_of(tmp_path / "empty", tmp_path / "library", SITE)
    (source / "clinical.csv").write_text("name,pneumonia\nx,yes\n")
    with pytest.raises(InvalidArgument, match="PatientID"):
        library_of(source, tmp_path / "library", SITE)


@pytest.mark.parametrize("thickness", [b"thin", b"1.5\\2", b"nan ", b"1e999 ", b"0,5 "])
def test_a_thickness_that_is_not_a_number_is_counted_as_missing(source: Path, tmp_path: Path, thickness: bytes) -> None:
    """Of whatever form it is, and the studies are all there."""
    file = source / "P1" / "2.dcm"
    dataset = pydicom.dcmread(file)
    dataset[0x00180050] = RawDataElement(Tag(0x00180050), "DS", len(thickness), thickness, 0, False, True)
    dataset.save_as(file)
    studies = load_library(library_of(source, tmp_path / "library", SITE))
    assert [study.series[0].slice_thickness for study in studies] == [None, None, None]


def test_a_file_without_a_valid_uid_is_left_out(source: Path, tmp_path: Path) -> None:
    """As a file that is no DICOM is."""
    file = source / "P3" / "4.dcm"
    write_film(file, patient="P3", study="1.2.14")
    file.write_bytes(file.read_bytes().replace(b"1.2.14", b"1.2.04"))
    assert [study.study for study in load_library(library_of(source, tmp_path / "library", SITE))] == [
        "1.2.1",
        "1.2.2",
        "1.2.3",
    ]


@pytest.mark.parametrize("table", [b"PatientID,pneumonia\nP1,\xff\n", b"PatientID,pneumonia\nP1,yes,no\n"])
def test_a_table_that_is_no_table_is_named(source: Path, tmp_path: Path, table: bytes) -> None:
    """In another encoding, or with more cells in a row than it has columns."""
    (source / "clinical.csv").write_bytes(table)
    with pytest.raises(InvalidArgument, match=r"clinical\.csv"):
        library_of(source, tmp_path / "library", SITE)
