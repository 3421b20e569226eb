"""A reader's page gets every stored value of a film and the window that its header names, and nothing else of it."""

import gzip
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from coordinator.curation.reading.films import FilmFacts, as_png, film_facts, film_values, packed
from shared.errors.inputs import FilmUnreadable
from tests.factories.dicom import make_dx, write_file

SYNTAXES = (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless)


def film(values: Any, *, bits: int = 12, signed: bool = False) -> Dataset:
    dataset = make_dx(rows=8)
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    return dataset


def written(dataset: Dataset, folder: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    return write_file(dataset, folder / "film.dcm", syntax)


@given(
    seed=st.integers(0, 10**6),
    bits=st.sampled_from((10, 12, 16)),
    signed=st.booleans(),
    syntax=st.sampled_from(SYNTAXES),
    shape=st.tuples(st.integers(32, 40), st.integers(32, 40)),
)
def test_every_value_arrives(seed: int, bits: int, signed: bool, syntax: UID, shape: tuple[int, int]) -> None:
    """Of any depth, sign and lossless transfer syntax the values are the stored ones, counted from the lowest."""
    lowest = -(1 << (bits - 1)) if signed else 0
    values = np.random.default_rng(seed).integers(lowest, lowest + (1 << bits), shape)
    with TemporaryDirectory() as folder:
        file = written(film(values, bits=bits, signed=signed), Path(folder), syntax)
        facts, sent = film_facts(file), gzip.decompress(packed(film_values(file)))
    assert (facts.rows, facts.columns, facts.largest) == (*shape, (1 << bits) - 1)
    assert (np.frombuffer(sent, "<u2").reshape(shape) == values - lowest).all()


@given(
    slope=st.floats(0.1, 4),
    intercept=st.integers(-1024, 1024),
    center=st.integers(-500, 5000),
    width=st.integers(1, 5000),
)
def test_a_window_is_that_of_the_stored_values(slope: float, intercept: int, center: int, width: int) -> None:
    """The modality's slope and intercept are taken out of it, so that a page windows what it was sent."""
    with TemporaryDirectory() as folder:
        dataset = film(np.zeros((2, 2)))
        dataset.WindowCenter, dataset.WindowWidth = center, width
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.6f}", intercept
        facts = film_facts(written(dataset, Path(folder)))
    assert facts.center is not None
    assert facts.width is not None
    assert facts.center * float(f"{slope:.6f}") + intercept == pytest.approx(center)
    assert facts.width * float(f"{slope:.6f}") == pytest.approx(width)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"PhotometricInterpretation": "RGB"}, "shades of grey"),
        ({"NumberOfFrames": 2}, "single frame"),
        ({"Rows": 0}, "no pixels"),
        ({"Rows": 40_000, "Columns": 40_000}, "too many"),
        ({"BitsStored": None}, "header"),
        ({"WindowCenter": "x"}, "header"),
        ({"WindowWidth": "1E400"}, "header"),
        ({"PixelRepresentation": None}, "header"),
    ],
)
def test_what_is_no_film_is_said(tmp_path: Path, changes: dict[str, object], problem: str) -> None:
    """A sentence says what is wrong, without a value of the header."""
    dataset = film(np.zeros((4, 4)))
    for name, value in changes.items():
        if name == "WindowCenter":
            dataset.add_new(name, "LO", value)
        else:
            setattr(dataset, name, value)
    with pytest.raises(FilmUnreadable) as refusal:
        film_facts(written(dataset, tmp_path))
    assert problem in refusal.value.public


@pytest.mark.parametrize("left", [0, 100, 400, -3])
def test_a_damaged_film_is_said(tmp_path: Path, left: int) -> None:
    """A file that is not there, is no DICOM or ends early is a sentence, never a defect."""
    file = written(film(np.zeros((64, 64))), tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    with pytest.raises(FilmUnreadable):
        film_values(file)
    file.unlink()
    with pytest.raises(FilmUnreadable):
        film_facts(file)


def test_the_picture_without_scripts_is_windowed(tmp_path: Path) -> None:
    """At 8 bits, black below the window and white above; turned where 0 is white; by percentiles without a window."""
    values = np.array([[0, 1000], [2000, 4000]])
    facts = FilmFacts(rows=2, columns=2, largest=4095, center=2000, width=2000)
    shades = [
        np.asarray(Image.open(io.BytesIO(as_png(values.astype(np.uint16), each)))).ravel().tolist()
        for each in (facts, facts.model_copy(update={"inverted": True}), facts.model_copy(update={"center": None}))
    ]
    assert shades[0] == [0, 0, 127, 255]
    assert shades[1] == [255, 255, 128, 0]
    assert (shades[2][0], shades[2][3]) == (0, 255)
    assert dcmread(written(film(values), tmp_path)).PatientName != ""
