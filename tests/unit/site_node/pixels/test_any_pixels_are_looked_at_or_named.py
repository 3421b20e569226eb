"""Every form of pixels is a picture that was searched, or has a named reason; none is passed by."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from compose.sample import films
from shared.errors.studies import PixelsUnreadable
from site_node.pixels.client import PixelChecker
from site_node.pixels.frame import Frame
from site_node.pixels.frames import choose_stacks, read_values
from tests.factories.dicom import make_ct, make_dx, write_file

pytestmark = pytest.mark.slow

MARKED = films.mark(films.frontal(np.random.default_rng(1), 512, positive=False), "DOE JANE 1961", (0.05, 0.05), 0.06)


@pytest.fixture(scope="module")
def checker() -> Iterator[PixelChecker]:
    with PixelChecker() as checker:
        yield checker


def film(pixels: NDArray[np.generic], **attributes: object) -> Dataset:
    """A film of these stored values."""
    dataset = make_dx(rows=512)
    bits = pixels.dtype.itemsize * 8
    attributes = {"BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1} | attributes
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    even = np.full((512, 512), 128, dtype=np.uint8)
    return np.dstack([(values * 255).astype(np.uint8), even, even])


def palette() -> Dataset:
    """Indices into a palette that runs backwards."""
    dataset = film((MARKED * 255).astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", np.linspace(65535, 0, 256).astype("<u2").tobytes())
    return dataset


COLOUR = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
FORMS: dict[str, Callable[[], Dataset]] = {
    "8 bits": lambda: film((MARKED * 255).astype(np.uint8)),
    "signed": lambda: film((MARKED * 4000 - 2000).astype(np.int16), PixelRepresentation=1),
    "inverted": lambda: film((4000 - MARKED * 4000).astype(np.uint16), PhotometricInterpretation="MONOCHROME1"),
    "empty window": lambda: film((MARKED * 4000).astype(np.uint16), WindowWidth="0", WindowCenter="0"),
    "RGB": lambda: film(coloured(MARKED), PhotometricInterpretation="RGB", **COLOUR),
    "YBR": lambda: film(coloured(MARKED), PhotometricInterpretation="YBR_FULL", **COLOUR),
    "palette": palette,
    "1 bit": lambda: film(
        np.packbits((MARKED > 0.9).ravel(), bitorder="little"), BitsAllocated=1, BitsStored=1, HighBit=0
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_text_is_found_in_any_form_of_pixels(form: str, tmp_path: Path, checker: PixelChecker) -> None:
    (stack,) = choose_stacks([write_file(FORMS[form](), tmp_path / "film")])
    (boxes,) = checker.check(stack)
    assert isinstance(boxes, tuple), boxes
    assert boxes


def test_what_is_not_a_number_hides_no_text(tmp_path: Path, checker: PixelChecker) -> None:
    """Floats of any size, some not a number or infinite."""
    dataset = film((MARKED * 4000).astype(np.uint16), BitsAllocated=32)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    values = MARKED * np.float32(1e30)
    values[300:310], values[320] = np.nan, np.inf
    dataset.FloatPixelData = values.tobytes()
    (stack,) = choose_stacks([write_file(dataset, tmp_path / "film")])
    (boxes,) = checker.check(stack)
    assert boxes
    assert not isinstance(boxes, PixelsUnreadable)


def test_a_frame_that_does_not_decode_is_named_and_the_others_are_searched(
    tmp_path: Path, checker: PixelChecker
) -> None:
    """A slice that is cut short is unreadable; the text on the next is found."""
    series = make_ct(slices=5, rows=512)
    for place, dataset in enumerate(series):
        dataset.PixelData = ((MARKED if place == 3 else MARKED * 0.3) * 1000).astype(np.int16).tobytes()
    series[2].PixelData = series[2].PixelData[:1000]
    paths = [write_file(dataset, tmp_path / f"{place}") for place, dataset in enumerate(series)]
    (stack,) = choose_stacks(paths)
    answers = checker.check(stack)
    assert isinstance(answers[2], PixelsUnreadable)
    assert answers[3]


def megabytes_of(checker: PixelChecker) -> int:
    """The most memory that the worker has had."""
    assert checker._process is not None
    status = Path(f"/proc/{checker._process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_a_film_of_400_megabytes_is_searched_within_six_times_its_size(tmp_path: Path) -> None:
    """A small name in the middle of it is found."""
    values = np.full((14200, 14200), 500, dtype=np.uint16)
    values[7000:7512, 7000:7512] += (MARKED * 3000).astype(np.uint16)
    (stack,) = choose_stacks([write_file(film(values, Rows=14200, Columns=14200), tmp_path / "film")])
    with PixelChecker() as checker:
        (boxes,) = checker.check(stack)
        assert isinstance(boxes, tuple)
        assert any(7000 <= box.left < box.right <= 7512 and 7000 <= box.top < box.bottom <= 7512 for box in boxes)
        assert megabytes_of(checker) < 6 * 400


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="not Linux")
def test_one_of_two_thousand_frames_is_found_without_holding_them_all(tmp_path: Path) -> None:
    """No more is in memory than a stack's frames, and each frame has its answer."""
    rng = np.random.default_rng(1)
    frames = films.frontal(rng, 128, positive=False) * 2000 + 500 + rng.normal(0, 8, (2000, 128, 128))
    letters = films.mark(np.zeros((128, 128), dtype=np.float32), "DOE J 1961", (0.05, 0.3), 0.12)
    frames[1234] += letters * 1500
    dataset = film(frames.astype(np.uint16), Rows=128, Columns=128, NumberOfFrames=2000)
    stacks = choose_stacks([write_file(dataset, tmp_path / "frames")])
    with PixelChecker() as checker:
        answers = [answer for stack in stacks for answer in checker.check(stack)]
        assert len(answers) == 2000
        assert not any(isinstance(answer, Exception) for answer in answers)
        assert answers[1234]
        assert not any(answers[:1233] + answers[1236:])
        assert megabytes_of(checker) < 400


def test_a_file_without_a_matrix_is_named(tmp_path: Path) -> None:
    dataset = make_dx()
    del dataset.Rows
    with pytest.raises(PixelsUnreadable):
        choose_stacks([write_file(dataset, tmp_path / "film")])


def test_an_unknown_coding_is_named(tmp_path: Path) -> None:
    path = write_file(make_dx(), tmp_path / "film")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    path.write_bytes(content)
    with pytest.raises(PixelsUnreadable):
        read_values(Frame(path, 0))
