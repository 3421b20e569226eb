"""What keeps a file from being read is named by its true cause, whichever reader meets it."""

from pathlib import Path

import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from tests.factories.deidentified import file_of, run_bytes
from tests.factories.dicom import make_dx


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_an_image_without_pixels_is_not_called_cut(tmp_path: Path, syntax: str) -> None:
    """The file is whole; nobody need copy it again."""
    dataset = make_dx()
    for keyword in ("PixelData", "Rows", "BitsAllocated"):
        delattr(dataset, keyword)
        assert run_bytes(tmp_path, dataset, file_of(tmp_path, dataset, syntax)).code == "no-pixels"


@pytest.mark.parametrize(
    ("written", "stated"),
    [
        (ImplicitVRLittleEndian, ExplicitVRLittleEndian),
        (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
        (ExplicitVRBigEndian, ExplicitVRLittleEndian),
        (RLELossless, ExplicitVRLittleEndian),
        (ExplicitVRLittleEndian, JPEG2000Lossless),
    ],
    ids=lambda syntax: syntax.name,
)
def test_a_file_in_another_syntax_than_it_states_says_so(tmp_path: Path, written: str, stated: str) -> None:
    """Neither its elements nor its pixels are broken."""
    dataset = make_dx()
    content = file_of(tmp_path, dataset, written)
    old, new = (f"{syntax}\0"[: len(syntax) + len(syntax) % 2].encode() for syntax in (written, stated))
    place = content.index(b"\x02\0\x10\0UI")
    changed = content[: place + 6] + len(new).to_bytes(2, "little") + new + content[place + 8 + len(old) :]
    group_length = int.from_bytes(changed[140:144], "little") + len(new) - len(old)
    changed = changed[:140] + group_length.to_bytes(4, "little") + changed[144:]
    assert run_bytes(tmp_path, dataset, changed).code == "wrong-syntax"
