"""The bytes of native pixels follow from the header; what it does not say is one sample and one frame."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.encapsulated import FAMILIES, Family
from site_node.deidentify.kinds import cleaned_frames
from site_node.deidentify.native_pixels import native_pixels
from site_node.dicom.elements import Element, Elements, ParsedFile
from tests.factories import frames

TAGS = {"samples": 0x00280002, "rows": 0x00280010, "columns": 0x00280011, "allocated": 0x00280100}
PHOTOMETRIC, FRAMES = 0x00280004, 0x00280008
RLE = next(syntax for syntax, family in FAMILIES.items() if family is Family.RLE)


def facts(words: dict[str, int], photometric: str = "MONOCHROME2", number: str | None = None) -> Elements:
    """The facts of a header, with these words."""
    numbers = {TAGS[name]: Element("US", struct.pack("<H", word)) for name, word in words.items()}
    texts = {PHOTOMETRIC: photometric, FRAMES: number}
    return numbers | {tag: Element("", text.encode()) for tag, text in texts.items() if text is not None}


@given(
    words=st.fixed_dictionaries(
        {"rows": st.integers(1, 99), "columns": st.integers(1, 99), "allocated": st.sampled_from([1, 8, 16, 32])},
        optional={"samples": st.sampled_from([1, 3])},
    ),
    photometric=st.sampled_from(["MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"]),
    number=st.none() | st.integers(1, 20).map(str),
)
def test_pixels_are_as_many_as_the_header_says(words: dict[str, int], photometric: str, number: str | None) -> None:
    """Of halved colours two bytes stand for three samples (PS3.3 C.7.6.3.1.2); a last byte is begun."""
    samples = words.get("samples", 1)
    each = 2 if samples == 3 and photometric.endswith("422") else samples
    bits = words["rows"] * words["columns"] * words["allocated"] * each * int(number or 1)
    assert native_pixels(facts(words, photometric, number)).size == -(-bits // 8)


@pytest.mark.parametrize("missing", ["rows", "columns", "allocated"])
def test_without_its_shape_there_is_no_picture(missing: str) -> None:
    """Nor where there are nought frames, or so many as is no number."""
    words = {"rows": 4, "columns": 4, "allocated": 8}
    for number, without in ((None, missing), ("0", ""), ("2x", ""), ("\u0662", "")):
        with pytest.raises(DicomUnsupported):
            native_pixels(facts({name: word for name, word in words.items() if name != without}, number=number))


@pytest.mark.parametrize(("samples", "planes"), [(None, 1), (1, 1), (3, 3)])
def test_a_compressed_frame_has_the_planes_of_its_samples(samples: int | None, planes: int) -> None:
    """One where the header does not say; another number than that is refused."""
    words = {"rows": 8, "columns": 8, "allocated": 8, **({} if samples is None else {"samples": samples})}
    for count in (1, 2, 3):
        content = frames.items(frames.rle([bytes(range(64))] * count))
        parsed = ParsedFile((), facts(words), True, RLE, content, encapsulated=True, pixel_vr="OB")
        if count == planes:
            assert cleaned_frames(parsed, content) == content
        else:
            with pytest.raises(DicomUnsupported):
                cleaned_frames(parsed, content)
