"""What a decoder does not read does not leave, and validation sees it by itself."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openjpeg.utils import decode
from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.sequence import Sequence

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.encapsulated import FAMILIES, Family, Planes, clean_frames
from site_node.validate import codestream
from site_node.validate.conformance import check_output
from site_node.validate.entropy import CodestreamBroken
from tests.factories import frames
from tests.factories.deidentified import PROFILE, PSEUDONYMS, run_one
from tests.factories.dicom import make_dx
from tests.factories.studies import make_received

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "dicom"
TOKENS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz^ 0123456789", min_size=6, max_size=40).map(
    str.encode
)
GREY = Planes(1, 64 * 64)
SIZES = st.integers(1, 70)
LARGER = st.sampled_from([40, 64, 73, 90])  # no tile is smaller than its wavelet, on which the encoder aborts


def pictures(sizes: st.SearchStrategy[int], *colours: int) -> st.SearchStrategy[frames.Picture]:
    """Pictures of such rows, columns and colours."""
    seeds, noise = st.integers(0, 1000), st.sampled_from([0, 3, 60, 255])
    return st.builds(frames.picture, sizes, sizes, seed=seeds, noise=noise, colours=st.sampled_from(colours))


JPEG_OPTIONS = st.fixed_dictionaries(
    {"quality": st.sampled_from([30, 75, 95]), "progressive": st.booleans(), "subsampling": st.sampled_from([0, 1, 2])},
    optional={"restart_marker_blocks": st.integers(1, 9), "optimize": st.booleans()},
)
JPEG_2000_OPTIONS = st.fixed_dictionaries(
    {
        "progression": st.sampled_from(["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"]),
        "irreversible": st.booleans(),
        "num_resolutions": st.integers(1, 4),
    },
    optional={
        "tile_size": st.tuples(st.sampled_from([32, 50]), st.sampled_from([32, 64])),
        "mct": st.integers(0, 1),
    },
) | st.fixed_dictionaries(
    {
        "progression": st.sampled_from(["LRCP", "RLCP", "RPCL", "PCRL", "CPRL"]),
        "precinct_size": st.tuples(st.sampled_from([32, 64]), st.sampled_from([32, 64])),
        "codeblock_size": st.tuples(st.sampled_from([4, 8, 16]), st.sampled_from([4, 8, 16])),
    }
)


def cleaned(frame: bytes, family: Family, planes: Planes = GREY) -> bytes:
    """One frame as it leaves."""
    content = clean_frames(frames.items(frame), family, 1, planes, extended=False)
    return content[16:-8] if family is Family.RLE else content[16:-8].rstrip(b"\0")


def is_seen(frame: bytes, planes: Planes = GREY) -> bool:
    """Whether validation sees that a frame holds more than its picture."""
    try:
        return codestream.hides_bytes(frame, codestream.Planes(*planes))
    except CodestreamBroken:
        return True


def holds(
    frame: bytes, plant: frames.Planting, token: bytes, family: Family, decode: Callable[[bytes], np.ndarray]
) -> None:
    """The law for one frame, one place and one token."""
    planted, clean = plant(frame, token), cleaned(frame, family)
    assert not is_seen(clean)
    assert is_seen(planted)
    assert cleaned(planted, family) == clean
    assert np.array_equal(decode(clean), decode(frame))


@pytest.mark.parametrize("place", frames.JPEG_2000_PLACES)
@settings(max_examples=25)
@given(st.data())
def test_of_jpeg_2000(place: str, data: st.DataObject) -> None:
    """Pointers, comments, boxes and what comes after a last packet go; the picture stays."""
    pixels, options, token = data.draw(pictures(LARGER, 1, 3)), data.draw(JPEG_2000_OPTIONS), data.draw(TOKENS)
    frame = frames.jpeg_2000(pixels, **options)
    holds(frame, frames.JPEG_2000_PLACES[place], token, Family.JPEG_2000, decode)


@pytest.mark.parametrize("place", frames.JPEG_PLACES)
@settings(max_examples=25)
@given(st.data())
def test_of_jpeg(place: str, data: st.DataObject) -> None:
    """Comments, tables that no scan uses and what comes after the last block go; the picture stays."""
    pixels, options, token = data.draw(pictures(SIZES, 1, 3)), data.draw(JPEG_OPTIONS), data.draw(TOKENS)
    holds(
        frames.jpeg(pixels, **options), frames.JPEG_PLACES[place], token, Family.JPEG,
        lambda frame: np.asarray(Image.open(BytesIO(frame))),
    )  # fmt: skip


@pytest.mark.parametrize("place", frames.JPEG_PLACES)
@settings(max_examples=25)
@given(st.data())
def test_of_lossless_jpeg(place: str, data: st.DataObject) -> None:
    """The same, sample by sample."""
    pixels, token = data.draw(pictures(SIZES, 1)), data.draw(TOKENS)
    frame = frames.jpeg_lossless(pixels)
    clean = cleaned(frame, Family.JPEG)
    assert clean == frame
    assert cleaned(frames.JPEG_PLACES[place](frame, token), Family.JPEG).endswith(clean[2:])
    assert is_seen(frames.JPEG_PLACES[place](frame, token))


@pytest.mark.parametrize("place", frames.JPEG_PLACES)
@given(TOKENS)
def test_of_jpeg_ls(place: str, token: bytes) -> None:
    """The same, or the frame does not go on: only its decoder knows where a scan ends."""
    planted = frames.JPEG_PLACES[place](frames.JPEG_LS, token)
    assert cleaned(frames.JPEG_LS, Family.JPEG_LS) == frames.JPEG_LS
    assert not is_seen(frames.JPEG_LS)
    assert is_seen(planted)
    if place in {"after the last block", "after a restart"}:
        with pytest.raises(DicomUnsupported):
            cleaned(planted, Family.JPEG_LS)
    else:
        assert token not in cleaned(planted, Family.JPEG_LS)


@given(st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=4), TOKENS, st.booleans())
def test_of_rle(planes: list[bytes], token: bytes, between: bool) -> None:
    """Bytes behind a segment go, and runs that mean nothing."""
    frame, shape = frames.rle(planes), Planes(len(planes), 64)
    planted = frame + token
    if between:
        planted = frame[:64] + b"\x80" * (2 * len(token)) + frame[64:]
        starts = np.frombuffer(planted[8 : 4 + 4 * len(planes)], "<u4") + 2 * len(token)
        planted = planted[:8] + starts.tobytes() + planted[4 + 4 * len(planes) :]
    assert cleaned(frame, Family.RLE, shape) == frame == cleaned(planted, Family.RLE, shape)
    assert is_seen(planted, shape)
    assert not is_seen(frame, shape)


def test_of_further_fragments() -> None:
    """A fragment that the frame does not need goes with what it holds."""
    frame = frames.rle([bytes(64)])
    content = clean_frames(frames.items(frame, b"Kelstrupova^Ada "), Family.RLE, 1, Planes(1, 64), extended=False)
    assert content == frames.items(frame)


def codes(folder: Path, dataset: Dataset) -> set[str]:
    """What the validator finds in a file that de-identification did not touch."""
    raw = make_received(folder / "raw", [dataset]).instances[0].path.read_bytes()
    return {finding.code for finding in check_output(raw, profile=PROFILE, site_id=PSEUDONYMS.site_id)}


@settings(max_examples=40)
@given(TOKENS, st.integers(0, 3000))
def test_of_native_pixels(tmp_path_factory: pytest.TempPathFactory, token: bytes, place: int) -> None:
    """Bits that no value uses spell nothing: the file does not go on."""
    folder = tmp_path_factory.mktemp("study")
    dataset = make_dx()
    words = np.frombuffer(dataset.PixelData, "<u2").copy()
    halves = np.frombuffer(token, np.uint8)
    nibbles = np.stack([halves >> 4, halves & 15], axis=1).ravel().astype(np.uint16)
    words[place : place + len(nibbles)] |= nibbles << 12
    assert run_one(folder / "clean", dataset).code is None
    dataset.PixelData = words.tobytes()
    assert "unread" in codes(folder, dataset)
    assert run_one(folder, dataset).code == "pixel-unused-bits"


@pytest.mark.parametrize("bits", [8, 12])
def test_signed_values_may_repeat_their_sign(tmp_path: Path, bits: int) -> None:
    """A value below zero fills its word with ones (PS3.5 section 8.1.1)."""
    dataset = make_dx(BitsStored=bits, HighBit=bits - 1, PixelRepresentation=1)
    dataset.PixelData = (np.arange(64 * 64, dtype=np.int16) % 200 - 100).astype("<i2").tobytes()
    assert "unread" not in codes(tmp_path, dataset)
    assert run_one(tmp_path, dataset).dataset.PixelData == dataset.PixelData


@pytest.mark.parametrize("padding", [b"\0\0", b"AS"])
def test_two_bytes_after_the_pixels_are_padding(tmp_path: Path, padding: bytes) -> None:
    """They are dropped."""
    dataset = make_dx()
    pixels = dataset.PixelData
    dataset.PixelData = pixels + padding
    assert run_one(tmp_path, dataset).dataset.PixelData == pixels


@settings(max_examples=40)
@given(TOKENS.filter(lambda token: list(token[::2]) != sorted(token[::2])), st.integers(0, 200))
def test_of_a_lookup_table(tmp_path_factory: pytest.TempPathFactory, token: bytes, place: int) -> None:
    """A table that rises or falls in every step spells nothing; another one does not go on."""
    folder = tmp_path_factory.mktemp("study")
    item = Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.ModalityLUTType = "HU"
    table = np.arange(256, dtype="<u2").tobytes()
    item.add(DataElement(0x00283006, "OW", table))
    dataset = make_dx(ModalityLUTSequence=Sequence([item]))
    assert run_one(folder / "clean", dataset).code is None
    even = token[: len(token) // 2 * 2]
    item.add(DataElement(0x00283006, "OW", table[: 2 * place] + even + table[2 * place + len(even) :]))
    assert "unread" in codes(folder, dataset)
    assert run_one(folder, dataset).code == "malformed-value"


@pytest.mark.skipif(not REAL.is_dir(), reason="the developers' shared data are not here")
@pytest.mark.filterwarnings("ignore")  # pydicom's, of files that are not quite DICOM
def test_real_frames_keep_their_pixels() -> None:
    """Every compressed file of other projects shows what it showed, and validation sees nothing in it."""
    shown = 0
    for path in sorted(path for path in REAL.rglob("*") if path.is_file() and path.suffix != ".csv"):
        try:
            dataset = pydicom.dcmread(path)
            family, before = FAMILIES[dataset.file_meta.TransferSyntaxUID], dataset.pixel_array
        except (InvalidDicomError, AttributeError, KeyError, ValueError, RuntimeError, NotImplementedError):
            continue
        planes = Planes(dataset.SamplesPerPixel * -(-dataset.BitsAllocated // 8), dataset.Rows * dataset.Columns)
        count = int(dataset.get("NumberOfFrames", 1))
        try:
            dataset.PixelData = clean_frames(dataset.PixelData, family, count, planes, extended=False)
        except DicomUnsupported as error:
            raise AssertionError(path) from error
        assert np.array_equal(dataset.pixel_array, before), path
        shown += 1
    assert shown > 30
