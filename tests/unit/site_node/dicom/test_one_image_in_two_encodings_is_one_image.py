"""Two files are one image where attributes and decoded pixels agree, however each is encoded."""

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from site_node.dicom.differences import differences
from tests.factories.dicom import make_ct, make_dx, plant_identifiers, write_file

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
)


def attributes(first: Path, second: Path) -> list[str]:
    return [difference.attribute for difference in differences(first, second)]


@pytest.mark.parametrize("make", [lambda: make_dx(rows=64), lambda: make_ct(slices=1, rows=64)[0]], ids=["film", "ct"])
def test_every_two_syntaxes_of_an_image_agree(tmp_path: Path, make: object) -> None:
    """Deflated, run-length, wavelet, big endian and implicit files hold what the explicit one holds."""
    files = [write_file(make(), tmp_path / str(number), syntax) for number, syntax in enumerate(SYNTAXES)]  # type: ignore[operator]
    for first, second in combinations(files, 2):
        assert attributes(first, second) == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless])
def test_sequences_and_private_elements_agree_too(tmp_path: Path, syntax: UID) -> None:
    """What implicit VR does not name the representation of has the same bytes."""
    dataset = make_dx(rows=64)
    plant_identifiers(dataset)
    plain = write_file(dataset, tmp_path / "plain")
    assert attributes(plain, write_file(dataset, tmp_path / "other", syntax)) == []


def test_text_in_another_character_set_is_the_same_text(tmp_path: Path) -> None:
    """Münster in Latin-1 is Münster in UTF-8; the same bytes in two character sets are two names."""
    files = {}
    for character_set in ("ISO_IR 100", "ISO_IR 192", "ISO_IR 126"):
        dataset = make_dx(rows=8, SpecificCharacterSet=character_set, PatientName="M^J")
        dataset.PatientName = "Münster^J" if character_set != "ISO_IR 126" else "Mόnster^J"
        files[character_set] = write_file(dataset, tmp_path / character_set.replace(" ", ""))
    assert attributes(files["ISO_IR 100"], files["ISO_IR 192"]) == []
    assert attributes(files["ISO_IR 100"], files["ISO_IR 126"]) == ["PatientName"]


def nested(dataset: Dataset) -> None:
    dataset.AnatomicRegionSequence[0].CodeMeaning = "Head"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_one_pixel_or_value_makes_another_image(tmp_path: Path, syntax: UID) -> None:
    """What differs is named by keyword, and the record of it shows no value."""
    plain = write_file(make_dx(rows=64), tmp_path / "plain")
    changed = make_dx(rows=64, PatientID="P2")
    assert attributes(plain, write_file(changed, tmp_path / "patient", syntax)) == ["PatientID"]
    assert "P2" not in repr(differences(plain, tmp_path / "patient"))
    changed = make_dx(rows=64)
    changed.PixelData = changed.PixelData[:-2] + b"\x07\x00"
    assert attributes(plain, write_file(changed, tmp_path / "pixel", syntax)) == ["PixelData"]
    changed = make_dx(rows=64)
    del changed.SeriesDescription
    assert attributes(plain, write_file(changed, tmp_path / "missing", syntax)) == ["SeriesDescription"]


def test_an_item_of_a_sequence_counts(tmp_path: Path) -> None:
    """A difference at any depth is one of the attribute at the top."""
    dataset = make_dx(rows=8)
    plain = write_file(dataset, tmp_path / "plain")
    name = next(element.keyword for element in dataset if element.VR == "SQ" and element.value)
    dataset[name].value[0].CodeMeaning = "Head"
    assert attributes(plain, write_file(dataset, tmp_path / "other")) == [name]


def test_what_cannot_be_read_is_never_the_same(tmp_path: Path) -> None:
    """Neither no DICOM, nor frames that cannot be decoded."""
    (tmp_path / "text").write_bytes(b"a letter")
    (tmp_path / "other").write_bytes(b"another")
    assert attributes(tmp_path / "text", tmp_path / "other")
    packed = write_file(make_dx(rows=64), tmp_path / "packed", JPEG2000Lossless)
    plain = write_file(make_dx(rows=64), tmp_path / "plain")
    content = bytearray(packed.read_bytes())
    place = content.index(b"\xff\x4f\xff\x51")
    content[place : place + 40] = bytes(40)
    packed.write_bytes(content)
    assert attributes(plain, packed) == ["PixelData"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 511), bit=st.integers(0, 7), syntax=st.sampled_from(SYNTAXES))
def test_no_changed_bit_of_a_pixel_passes(tmp_path: Path, place: int, bit: int, syntax: UID) -> None:
    """Whatever the encoding, pixels are compared to the bit that is stored."""
    dataset = make_dx(rows=64)
    plain = write_file(dataset, tmp_path / "plain")
    content = bytearray(dataset.PixelData)
    if place % 2 and bit > 3:
        bit = 3  # of 12 bits stored
    content[place] ^= 1 << bit
    dataset.PixelData = bytes(content)
    assert attributes(plain, write_file(dataset, tmp_path / "other", syntax)) == ["PixelData"]
