"""A box becomes the darkest colour of its frame in every form that pixels have, or the file is refused untouched."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from shared.errors.studies import DicomUnsupported
from shared.ids import Uid
from site_node.blanking import BlankBox
from site_node.deidentify.assemble import NewFile
from site_node.deidentify.blank import blank_pixels
from site_node.deidentify.output import write_new
from tests.factories.dicom import changed, make_dx, write_file


def box(*sides: int, frame: int = 0) -> BlankBox:
    """A box of a frame: left, top, right, bottom."""
    left, top, right, bottom = sides
    return BlankBox(instance="1.2.3", frame=frame, left=left, top=top, right=right, bottom=bottom)


def film(pixels: NDArray[np.generic], **attributes: object) -> Dataset:
    """A film of 4 rows and 5 columns unless told otherwise, with these pixels."""
    dataset = changed(make_dx(Rows=4, Columns=5), attributes)
    dataset.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    dataset["PixelData"].VR = "OW"
    return dataset


def after(folder: Path, dataset: Dataset, boxes: list[BlankBox]) -> bytes:
    """The pixel data of a file whose boxes are blanked."""
    path = write_file(dataset, folder / "new.dcm", ExplicitVRLittleEndian)
    content, length = path.read_bytes(), len(dataset.PixelData)
    file = os.open(path, os.O_RDWR)
    try:
        blank_pixels(file, content[:-length], boxes)
    except DicomUnsupported:
        assert path.read_bytes() == content
        raise
    finally:
        os.close(file)
    assert path.read_bytes()[:-length] == content[:-length]
    return path.read_bytes()[-length:]


@st.composite
def forms(draw: st.DrawFn) -> tuple[int, int, int, bool]:
    """Bits allocated, bits stored, the highest of them, and whether values have a sign."""
    bits = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, bits))
    return bits, stored, draw(st.integers(stored - 1, bits - 1)), draw(st.booleans())


@given(forms(), st.sampled_from(["MONOCHROME1", "MONOCHROME2"]), st.integers(0, 2), st.integers(0, 1000))
def test_the_darkest_value_as_it_is_shown(
    tmp_path_factory: pytest.TempPathFactory,
    form: tuple[int, int, int, bool],
    photometric: str,
    number: int,
    seed: int,
) -> None:
    """Wherever in its word a value lies, with a sign or without: the least, or the greatest where white is nought."""
    bits, stored, high, signed = form
    least = -(1 << stored - 1) if signed else 0
    values = np.random.default_rng(seed).integers(least, least + (1 << stored), (3, 4, 5))
    words = ((values & (1 << stored) - 1) << high + 1 - stored).astype(f"<u{bits // 8}")
    dataset = film(
        words, BitsAllocated=bits, BitsStored=stored, HighBit=high, PixelRepresentation=int(signed),
        PhotometricInterpretation=photometric, NumberOfFrames=3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("film")
    new = np.frombuffer(after(folder, dataset, [box(1, 2, 3, 4, frame=number)])[: words.nbytes], words.dtype)
    expected = words.copy()
    frame = values[number]
    darkest = frame.max() if photometric == "MONOCHROME1" else frame.min()
    expected[number, 2:4, 1:3] = (int(darkest) & (1 << stored) - 1) << high + 1 - stored
    assert (new.reshape(3, 4, 5) == expected).all()


@pytest.mark.parametrize(
    "attributes",
    [
        {"BitsStored": 0, "HighBit": 0},
        {"HighBit": 10},
        {"HighBit": 16},
        {"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63},
        {"BitsAllocated": 12},
        {"PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"PhotometricInterpretation": "YBR_FULL", "SamplesPerPixel": 3},
        {"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 3},
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 2},
    ],
    ids=str,
)
def test_pixels_of_another_form_are_refused(tmp_path: Path, attributes: dict[str, object]) -> None:
    """Where the header contradicts itself, or nought is not black, nobody knows which word shows nothing."""
    pixels = np.zeros((3, 4, 5, 8), dtype=np.uint8)  # more than any of them needs
    with pytest.raises(DicomUnsupported):
        after(tmp_path, film(pixels, **attributes), [box(0, 0, 2, 2)])


@pytest.mark.parametrize(("sides", "frame"), [((5, 0, 6, 1), 0), ((0, 4, 1, 5), 0), ((0, 0, 1, 1), 2)])
def test_a_box_lies_in_the_picture(tmp_path: Path, sides: tuple[int, int, int, int], frame: int) -> None:
    """One that begins behind the last column, row or frame hides nothing that the person saw."""
    pixels = np.ones((3, 4, 5), dtype=np.uint16)
    with pytest.raises(DicomUnsupported):
        after(tmp_path, film(pixels, NumberOfFrames=2), [box(*sides, frame=frame)])
    left, top, right, bottom = (max(0, side - 1) for side in sides)
    inside = box(left, top, max(right, left + 1), max(bottom, top + 1), frame=max(0, frame - 1))
    assert after(tmp_path, film(pixels, NumberOfFrames=2), [inside])


def test_a_new_file_is_for_others_to_read_and_for_nobody_to_run(tmp_path: Path) -> None:
    """Its folder decides who reads it; it holds a picture and no program."""
    mask = os.umask(0)
    try:
        os.close(write_new(NewFile(b"before", b"pixels", b"after", Uid("1.2"), Uid("1.3")), -1, str(tmp_path / "new")))
    finally:
        os.umask(mask)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644
