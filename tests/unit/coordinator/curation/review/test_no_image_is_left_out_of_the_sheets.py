"""Over its contact sheets each image of a study is shown, and no value hides; the sheets hold no header's text."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom.dataset import Dataset
from typer.testing import CliRunner

import coordinator.cli
from coordinator.curation.opening import Arrival, OpenedStudy, read_opened
from coordinator.curation.purging import _remove_instances
from coordinator.curation.review import images
from coordinator.curation.review.contact_sheet import EVERY, ROWS, SLICE, Row, Slices, film_row, sheets_of
from coordinator.curation.review.images import Image, images_of
from coordinator.curation.review.overview import FOLDER, overview_of
from shared.errors.storage import DiskFull
from shared.ids import Uid
from site_node.pixels.contrast import Stored
from site_node.pixels.frame import Frame
from site_node.pixels.frames import read_values
from tests.factories.dicom import make_ct, make_dx
from tests.factories.reviewed import open_datasets

FILM = Image(Uid("2.25.1"), Path(), modality="DX", frames=1)
ONE_ROW = 24 + SLICE  # pixels: the caption and one row of cells


def shown(study: OpenedStudy) -> list[str]:
    return [uid for sheet in overview_of(study, 7).overview.sheets for uid in sheet.instances]


def slices(uids: Sequence[str], shapes: Sequence[int], series: Sequence[str]) -> list[tuple[Image, NDArray[np.int16]]]:
    return [
        (Image(Uid(uid), Path(), series=each, modality="CT", frames=1), np.zeros((16, side), dtype=np.int16))
        for uid, side, each in zip(uids, shapes, series, strict=True)
    ]


def rows_of(stack: Sequence[tuple[Image, NDArray[np.int16]]]) -> list[Row]:
    row = Slices()
    return [*(made for image, stored in stack for made in row.add(image, stored)), *row.rest()]


@given(st.lists(st.tuples(st.sampled_from((16, 17)), st.sampled_from("ab")), min_size=1, max_size=150))
@settings(max_examples=30)
def test_every_slice_is_on_a_sheet(kinds: list[tuple[int, str]]) -> None:
    """For any number of slices, of any shapes and series, each is on exactly one sheet, in its order."""
    uids = [f"2.25.{number}" for number in range(len(kinds))]
    sheets = list(sheets_of(rows_of(slices(uids, [side for side, _ in kinds], [each for _, each in kinds])), 1))
    assert [uid for sheet in sheets for uid in sheet.instances] == uids
    assert all(sheet.picture.size == (5 * SLICE, sheet.picture.height) for sheet in sheets)
    assert all(sheet.picture.height <= 24 + ROWS * SLICE for sheet in sheets)


@given(slice_number=st.integers(0, 2 * EVERY - 1), bright=st.booleans())
def test_what_is_on_any_slice_shows(slice_number: int, bright: bool) -> None:
    """A mark on any slice of a CT, darker or brighter than all, is in its row's greatest or least values."""
    stack = slices([f"2.25.{n}" for n in range(2 * EVERY)], [16] * (2 * EVERY), ["a"] * (2 * EVERY))
    stack[slice_number][1][4:8, 4:8] = 300 if bright else -300
    row = rows_of(stack)[slice_number // EVERY]
    projected = row.cells[2 if bright else 4]
    mark, around = projected[100, 100], projected[200, 200]
    assert (mark, around) == ((255, 0) if bright else (0, 255))


@given(
    background=st.integers(0, 65_000),
    step=st.integers(3, 500),
    window=st.none() | st.tuples(st.integers(0, 60_000), st.integers(1, 60_000)),
)
@settings(max_examples=60)
def test_no_letter_on_a_film_hides(background: int, step: int, window: tuple[int, int] | None) -> None:
    """Whatever the background and the window, letters three values apart from it differ by 20 of 255 in some cell."""
    film = np.random.default_rng(1).integers(0, 40, (128, 128)) + 3000
    film[16:112, 16:112] = background
    film[60:64, 30:90] = background + step
    stated = None if window is None else (float(window[0]), float(window[0] + window[1]))
    row = film_row(FILM._replace(window=stated), film.astype(np.uint32))
    letters, around = (slice(243, 253), slice(160, 320)), (slice(150, 160), slice(160, 320))
    apart = [abs(float(cell[letters].mean()) - float(cell[around].mean())) for cell in row.cells]
    assert max(apart) > 20, apart


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kind=st.sampled_from(("u1", "i2", "u4", "f4", "?")),
    colour=st.booleans(),
    value=st.integers(0, 1),
    photometric=st.sampled_from(("MONOCHROME1", "MONOCHROME2", "RGB", "")),
)
def test_any_picture_has_its_cells(
    shape: tuple[int, int], kind: str, colour: bool, value: int, photometric: str
) -> None:
    """Of any shape, kind of number and colour, also of one value."""
    stored = np.full((*shape, 3) if colour else shape, value, dtype=kind)
    stored[0, 0] = 0
    image = FILM._replace(photometric=photometric)
    assert [cell.shape for cell in film_row(image, stored).cells] == [(512, 512)] * 5
    assert [len(row.cells) for row in rows_of([(image._replace(modality="CT"), stored)])] == [5]


@pytest.mark.parametrize("datasets", [make_ct(slices=11), [make_dx()]], ids=["ct", "film"])
def test_a_study_is_on_its_sheets_without_its_headers(tmp_path: Path, datasets: list[Dataset]) -> None:
    """The list names each image once; pictures are the same whatever texts the headers hold, and PNG without a text."""
    study = open_datasets(tmp_path, datasets)
    made = overview_of(study, 7)
    assert sorted(shown(study)) == sorted(path.stem for path in study.instances)
    before = [path.read_bytes() for path in made.sheets]
    for path in study.instances:
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription, dataset.PatientName = "<script>alert(1)</script>", "Doe^Jane"
        dataset.save_as(path)
    (made.folder / "overview.json").unlink()
    assert [path.read_bytes() for path in overview_of(study, 7).sheets] == before
    for path in made.sheets:
        with Picture.open(path) as picture:
            assert (picture.format, picture.info) == ("PNG", {})


def test_an_image_that_does_not_decode_has_its_place(tmp_path: Path) -> None:
    """It is on a sheet as a cross, its print says so, and the others are shown."""
    study = open_datasets(tmp_path, make_ct(slices=5))
    broken, cut = study.instances[1], study.instances[3]
    broken.write_bytes(b"no dicom")
    cut.write_bytes(cut.read_bytes()[:-1000])
    made = overview_of(study, 7)
    assert {image.instance for image in made.overview.images if image.pixels is None} == {broken.stem, cut.stem}
    assert sorted(shown(study)) == sorted(path.stem for path in study.instances)


def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its digest, its form and its sheet together, and not again while the study stays as it is."""
    study, decoded = open_datasets(tmp_path, make_ct(slices=9)), list[Path]()

    def counted_values(frame: Frame) -> Stored:
        decoded.append(frame.path)
        return read_values(frame)

    monkeypatch.setattr(images, "read_values", counted_values)
    first = overview_of(study, 7)
    assert overview_of(study, 7) == first
    assert sorted(decoded) == sorted(study.instances)


def test_a_withdrawn_image_is_on_no_sheet(tmp_path: Path) -> None:
    """Sheets and prints are of the images that are there, and lie in the study's folder, so that they go with it."""
    study = open_datasets(tmp_path, make_ct(slices=5))
    overview_of(study, 7)
    withdrawn = Uid(study.instances[0].stem)
    rest = study.model_copy(update={"arrival": Arrival(withdrawn=(withdrawn,))})
    assert withdrawn not in shown(rest)
    assert len(shown(rest)) == 4
    assert overview_of(rest, 7).folder == study.folder / FOLDER


def test_slices_stand_along_the_patient(tmp_path: Path) -> None:
    """In the order of their positions, whatever their UIDs and numbers."""
    study = open_datasets(tmp_path, make_ct(slices=12))
    places = [image.place for image in images_of(study)]
    assert places == sorted(places)
    assert len(set(places)) == 12


def test_the_command_writes_them(tmp_path: Path) -> None:
    """`curate review sheets` writes each sheet, and says which images it shows."""
    study = open_datasets(tmp_path, make_ct(slices=9))
    (tmp_path / "curator.toml").write_text("")
    arguments = ["--home", str(tmp_path), "curate", "review", "sheets", study.submission[:12], "--json"]
    result = CliRunner().invoke(coordinator.cli.app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    said = json.loads(result.output)
    assert (said["case"], list(said["sheets"])) == (1, ["case-1-sheet-0001.png"])
    assert sorted(said["sheets"]["case-1-sheet-0001.png"]) == sorted(path.stem for path in study.instances)
    (picture,) = (tmp_path / "out").iterdir()
    assert picture.read_bytes() == overview_of(study, 1).sheets[0].read_bytes()


def test_a_purged_image_leaves_no_picture(tmp_path: Path) -> None:
    """When an image is purged the sheets that show it are, before its file is."""
    study = open_datasets(tmp_path, make_ct(slices=5))
    sheets = overview_of(study, 7).sheets
    purged = Uid(study.instances[0].stem)
    _remove_instances(study, (purged,))
    assert not any(path.is_dir() for path in study.folder.iterdir())
    rest = read_opened(study.folder)
    assert sheets[0].exists() is False
    assert sorted(shown(rest)) == sorted(path.stem for path in rest.instances)
    assert len(rest.instances) == 4


def test_a_full_disk_leaves_no_half_of_an_overview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, nothing lies there, and once there is room all of it is made."""
    study = open_datasets(tmp_path, make_ct(slices=5))

    def full(self: object, *_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Picture.Image, "save", full)
        with pytest.raises(DiskFull):
            overview_of(study, 7)
    assert not any(path.is_dir() for path in study.folder.iterdir())
    assert len(shown(study)) == 5


def test_an_overview_of_another_release_is_made_anew(tmp_path: Path) -> None:
    """What does not parse, is of another case or of other images is not believed."""
    study = open_datasets(tmp_path, make_ct(slices=4))
    made = overview_of(study, 7)
    (made.folder / "overview.json").write_text('{"format": "of tomorrow"}')
    assert overview_of(study, 7) == made
    assert overview_of(study, 8).overview.case_number == 8
