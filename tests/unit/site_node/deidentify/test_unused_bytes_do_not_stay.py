"""Bytes in tables that no picture uses, or in surplus numbers, do not stay; nor do names that were cut or misread."""

import struct
from pathlib import Path

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from site_node.study import Refused, Validated
from site_node.validate.conformance import check_output
from site_node.validate.validation import validate
from tests.factories.deidentified import PROFILE, PSEUDONYMS, run_one, run_study
from tests.factories.dicom import make_dx
from tests.factories.studies import make_included, make_received

PLANTED = b"Kelstrupova Anna "


def _codes(folder: Path, dataset: Dataset) -> set[str]:
    """What the validator finds in a file that de-identification did not touch."""
    raw = make_received(folder / "raw", [dataset]).instances[0].path.read_bytes()
    return {finding.code for finding in check_output(raw, profile=PROFILE, site_id=PSEUDONYMS.site_id)}


@pytest.mark.parametrize("keyword", ["RedPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData"])
def test_a_palette_beside_grey_pixels(tmp_path: Path, keyword: str) -> None:
    """No viewer reads it: it goes, and validation finds one that stayed."""
    dataset = make_dx()
    setattr(dataset, keyword, PLANTED + b" ")
    assert "unread" in _codes(tmp_path, dataset)
    assert b"Kelstrupova" not in run_one(tmp_path, dataset).raw


def test_a_palette_of_a_palette_picture_stays(tmp_path: Path) -> None:
    """Without it there is no picture."""
    table = bytes(range(256)) * 2
    dataset = make_dx(PhotometricInterpretation="PALETTE COLOR")
    dataset.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
    dataset.RedPaletteColorLookupTableData = table
    dataset.RedPaletteColorLookupTableDescriptor = [256, 0, 16]
    assert run_one(tmp_path, dataset).dataset.RedPaletteColorLookupTableData == table
    assert "unread" not in _codes(tmp_path, dataset)


@pytest.mark.parametrize(
    ("table", "entries"),
    [(bytes(range(256)) * 2 + PLANTED + b" ", 256), ((PLANTED * 31)[:512], 256), (bytes(range(256)) * 2, 200)],
)
def test_a_palette_that_is_none_does_not_go_on(tmp_path: Path, table: bytes, entries: int) -> None:
    """It is as long as its descriptor says, and rises and falls less often than letters."""
    dataset = make_dx(PhotometricInterpretation="PALETTE COLOR")
    dataset.RedPaletteColorLookupTableData = table
    dataset.RedPaletteColorLookupTableDescriptor = [entries, 0, 16]
    assert "unread" in _codes(tmp_path, dataset)
    assert run_one(tmp_path, dataset).code == "malformed-value"


def test_more_numbers_than_an_attribute_has(tmp_path: Path) -> None:
    """SmallestImagePixelValue is one number; eight are a name."""
    dataset = make_dx()
    dataset.add(
        DataElement(0x00280106, "US", [int.from_bytes(PLANTED[at : at + 2], "little") for at in range(0, 16, 2)])
    )
    assert "unread" in _codes(tmp_path, dataset)
    assert b"Kelstrup" not in run_one(tmp_path, dataset).raw


def test_a_tag_is_one_value(tmp_path: Path) -> None:
    """Of two words; a second tag where one is meant goes."""
    index = Dataset()
    index.DimensionIndexPointer = 0x00200032
    dataset = make_dx(DimensionIndexSequence=Sequence([index]))
    assert run_one(tmp_path, dataset).dataset.DimensionIndexSequence[0].DimensionIndexPointer == 0x00200032
    index.add(DataElement(0x00209165, "AT", [0x4B656C73, 0x74727570]))
    assert b"\x65\x4b\x73\x6c" not in run_one(tmp_path / "two", dataset).raw


def test_numbers_that_spell_a_name(tmp_path: Path) -> None:
    """As many as the attribute may have, but they are letters."""
    dataset = make_dx(PatientName="Kelstrupova^Anna")
    dataset.add(DataElement(0x0018605A, "FL", list(struct.unpack("<4f", PLANTED[:16]))))
    assert b"Kelstrup" not in run_one(tmp_path, dataset).raw


def test_frame_offsets_beside_native_pixels(tmp_path: Path) -> None:
    """An Extended Offset Table goes with compressed frames only."""
    dataset = make_dx()
    dataset.add(DataElement(0x7FE00001, "OV", PLANTED[:16]))
    assert "unread" in _codes(tmp_path, dataset)
    assert b"Kelstrup" not in run_one(tmp_path, dataset).raw


def test_a_lookup_table_longer_than_it_says(tmp_path: Path) -> None:
    """Nobody reads what lies after the last entry: the file does not go on."""
    item = Dataset()
    item.LUTDescriptor = [4, 0, 16]
    item.ModalityLUTType = "HU"
    item.add(DataElement(0x00283006, "OW", bytes(8) + PLANTED + b" "))
    dataset = make_dx(ModalityLUTSequence=Sequence([item]))
    assert "unread" in _codes(tmp_path, dataset)
    assert run_one(tmp_path, dataset).code == "malformed-value"
    item.add(DataElement(0x00283006, "OW", bytes(8)))
    assert run_one(tmp_path / "good", dataset).code is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Wolfeschlegelsteinhausenbergerdorff^A", "WOLFESCHLEGELSTE"),  # as an SH holds it
        ("Kelstrupov\u00e1^Anna".encode().decode("latin-1"), "KELSTRUPOVA"),  # UTF-8 in a file that says Latin-1
    ],
)
def test_names_that_were_cut_or_misread(tmp_path: Path, name: str, text: str) -> None:
    """A device cut the name to sixteen letters, or wrote a character set other than the declared one."""
    dataset = make_dx(SpecificCharacterSet="ISO_IR 100", PatientName=name, SeriesDescription=f"PA {text}")
    source = make_received(tmp_path / "spool", [dataset])
    done = run_study(tmp_path, [dataset])
    assert not isinstance(done, Refused)
    assert b"PA" in done.instances[0].path.read_bytes()
    assert text.encode() not in done.instances[0].path.read_bytes()
    checked = validate(
        make_included(source), done, profile=PROFILE, pseudonyms=PSEUDONYMS, report=tmp_path / "report.json"
    )
    assert isinstance(checked, Validated)
