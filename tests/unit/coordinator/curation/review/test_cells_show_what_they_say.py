"""Each cell of a sheet shows its window, its side of it or its projection, the right way round; no header stops it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from coordinator.curation.review.contact_sheet import (
    EVERY,
    FILM,
    SLICE,
    Cell,
    Row,
    Slices,
    cell_of,
    empty_row,
    film_row,
    sheets_of,
)
from coordinator.curation.review.images import Image, read_image, to_grey
from shared.ids import Uid
from tests.factories.dicom import changed, make_ct, make_dx, write_file

UID = Uid("2.25.1")
STEPS = (0, 1000, 1500, 2000, 4000)


def film(**header: object) -> Image:
    return Image(UID, Path(), modality="DX", frames=1)._replace(**header)  # type: ignore[arg-type]  # any field


def bands(cell: Cell) -> list[int]:
    """The value of each of five bands that stand side by side."""
    return [int(cell[20, FILM * band // 5 + FILM // 10]) for band in range(5)]


def shown(**header: object) -> list[list[int]]:
    values = np.repeat(np.array(STEPS, dtype=np.uint16), 20)[None, :].repeat(100, axis=0)
    return [bands(cell) for cell in film_row(film(**header), values).cells]


def test_a_film_is_shown_in_its_window_and_on_both_sides() -> None:
    """Black below the window, white above; what lies below it or above has a cell without the rest."""
    window, below, above, often, _ = shown(window=(1000.0, 2000.0))
    assert window == [0, 0, 127, 255, 255]
    assert (below[0] > 0, below[1:]) == (True, [0, 0, 0, 0])
    assert (above[:4], above[4] > 0) == ([0, 0, 0, 0], True)
    assert often == sorted(set(often))


def test_a_window_is_of_rescaled_values() -> None:
    """PS3.3 C.11.2.1.2: it is of what slope and intercept make of the stored values."""
    assert shown(window=(400.0, 900.0), slope=0.5, intercept=-100.0) == shown(window=(1000.0, 2000.0))


def test_least_is_white_where_the_header_says_so() -> None:
    """In MONOCHROME1 each cell is the other way round."""
    window = (1000.0, 2000.0)
    upright, inverted = shown(window=window), shown(window=window, photometric="MONOCHROME1")
    assert inverted[:4] == [[255 - value for value in cell] for cell in upright[:4]]


def test_a_film_without_a_window_has_one() -> None:
    """By its own values: the least is black, the greatest white."""
    window, *_ = shown()
    assert (window[0], window[4]) == (0, 255)
    assert window == sorted(window)


@pytest.mark.parametrize(("units", "lung", "soft"), [(-1350, 0, 0), (-600, 127, 0), (40, 236, 127), (240, 255, 255)])
def test_slices_are_shown_in_lung_and_soft_tissue_windows(units: int, lung: int, soft: int) -> None:
    """Of Hounsfield units: level -600 and width 1500, level 40 and width 400."""
    slices = Slices()
    image = Image(UID, Path(), modality="CT", frames=1, intercept=-1400.0)
    list(slices.add(image, np.full((8, 8), units + 1400, dtype=np.uint16)))
    (row,) = slices.rest()
    assert [int(cell[9, 9]) for cell in row.cells[:2]] == [lung, soft]


def test_a_row_shows_its_middle_slice_and_all_of_them() -> None:
    """The window shows one slice, the projections the greatest, the mean and the least of each place."""
    slices, rows = Slices(), list[Row]()
    for number in range(EVERY):
        values = np.zeros((8, 8), dtype=np.int16)
        values[0, number % 8] = 100  # on each slice elsewhere
        values[1, 0], values[1, 1] = 1000, -1000  # on all
        rows += slices.add(Image(UID, Path(), modality="CT", frames=1), values)
    (row,) = rows
    side = SLICE // 8
    soft, greatest, mean, least = (cell[::side, ::side].astype(int) for cell in row.cells[1:])
    assert [place for place in range(8) if soft[0, place] > soft[2, 0]] == [EVERY // 2]
    assert all(greatest[0] > greatest[2, 0])
    assert all(least[0] == least[2, 0])
    assert all(mean[0] > mean[2, 0])
    assert all(mean[0] - mean[2, 0] < greatest[0] - greatest[2, 0])


def test_films_and_slices_stand_on_sheets_of_their_own() -> None:
    """Whatever their order; a film's sheet is of one film."""
    cell = np.zeros((FILM, FILM), dtype=np.uint8)
    kinds = [True, False, False, True, True, False]
    rows = [Row((cell,), (Uid(f"2.25.{n}"),), is_film) for n, is_film in enumerate(kinds)]
    assert [len(sheet.instances) for sheet in sheets_of(rows, 1)] == [1, 2, 1, 1, 1]


def test_slices_without_positions_stand_by_number(tmp_path: Path) -> None:
    """Where a header says no position, or none that is one, the number counts."""
    for number, image in enumerate(make_ct(slices=2), 1):
        file = write_file(image, tmp_path / f"{number}")
        assert read_image(UID, file).place == 3.0 * number
        for name in ("ImagePositionPatient", "ImageOrientationPatient"):
            whole = Dataset(image)
            delattr(whole, name)
            assert read_image(UID, write_file(whole, tmp_path / f"{number}-{name}")).place == number


numbers = st.sampled_from(("", "0", "-1", "1e38", "-1e38", "1e-30", "0.5", "400"))


@given(centre=numbers, width=numbers, slope=numbers, intercept=numbers)
@settings(max_examples=40)
def test_no_number_of_a_header_ends_a_sheet(centre: str, width: str, slope: str, intercept: str) -> None:
    """Whatever window and slope a film's or a slice's header states, there is a row."""
    changes: dict[str, object] = {
        "WindowCenter": centre,
        "WindowWidth": width,
        "RescaleSlope": slope,
        "RescaleIntercept": intercept,
    }
    with TemporaryDirectory() as folder:
        film_file = write_file(changed(make_dx(rows=16), changes), Path(folder) / "film")
        slice_file = write_file(changed(make_ct(slices=1, rows=16)[0], changes), Path(folder) / "slice")
        image, part = read_image(UID, film_file), read_image(UID, slice_file)
        slices = Slices()
        assert len(film_row(image, image.values(0)).cells) == 5
        assert len([*slices.add(part, part.values(0)), *slices.rest()]) == 1


@pytest.mark.parametrize(
    ("header", "window"),
    [
        ({"WindowCenter": 100, "WindowWidth": 40}, (80.0, 120.0)),
        ({"WindowCenter": [100, 7], "WindowWidth": [40, 7]}, (80.0, 120.0)),
        ({"WindowCenter": None, "WindowWidth": 40}, None),
        ({"WindowCenter": 100, "WindowWidth": None}, None),
        ({"WindowCenter": 100, "WindowWidth": 0}, None),
        ({"WindowCenter": 100, "WindowWidth": 1}, (99.5, 100.5)),
    ],
)
def test_a_window_is_the_headers_first(
    tmp_path: Path, header: dict[str, object], window: tuple[float, float] | None
) -> None:
    """One that lacks a part, or is narrower than a value, is none."""
    assert read_image(UID, write_file(changed(make_dx(), header), tmp_path / "film")).window == window


def test_what_all_frames_share_counts(tmp_path: Path) -> None:
    """An enhanced object states slope and intercept in its shared functional groups (PS3.3 C.7.6.16)."""
    image, group, macro = make_ct(slices=1)[0], Dataset(), Dataset()
    macro.RescaleSlope, macro.RescaleIntercept = 2, -1000
    group.PixelMeasuresSequence, group.PixelValueTransformationSequence = [Dataset()], [macro]
    image.SharedFunctionalGroupsSequence = [group]
    del image.RescaleSlope, image.RescaleIntercept
    read = read_image(UID, write_file(image, tmp_path / "image"))
    assert (read.slope, read.intercept) == (2.0, -1000.0)


def test_colours_lie_side_by_side() -> None:
    """A letter in one colour of three shows beside the others, not mixed with them."""
    picture = np.zeros((4, 5, 3), dtype=np.uint8)
    picture[1, 2, 1] = 200
    assert np.argwhere(to_grey(picture)).tolist() == [[1, 7]]
    assert to_grey(picture).shape == (4, 15)


@pytest.mark.parametrize(("rows", "columns"), [(10, 20), (20, 10), (200, 100), (1, 300)])
def test_a_picture_keeps_its_proportions(rows: int, columns: int) -> None:
    """All of it is in its square, as large as it can be."""
    light = cell_of(np.full((rows, columns), 255, dtype=np.uint8), 40) == 255
    across, down = int(light[0].sum()), int(light[:, 0].sum())
    assert (max(across, down), int(light.sum())) == (40, across * down)
    assert abs(down - max(1, 40 * rows / max(rows, columns))) < 1


@pytest.mark.parametrize("is_film", [True, False])
def test_a_cross_is_no_picture(is_film: bool) -> None:
    """Both diagonals are light, and it stands on a sheet of its kind."""
    row = empty_row(film(modality="DX" if is_film else "CT"))
    (cell,) = row.cells
    side = len(cell)
    assert (side, row.is_film) == (FILM if is_film else SLICE, is_film)
    light = [[cell[place, place], cell[place, side - 1 - place]] for place in range(10, side - 10)]
    assert np.min(light) > cell[side // 2, 5]


def test_numbers_of_any_range_keep_their_order() -> None:
    """Wider than 16 bits, or with fractions: five bands are five greys, in their order."""
    for values in (np.array(STEPS, dtype=np.int64) * 500_000, np.array(STEPS, dtype=np.float32) + 0.25):
        row = film_row(film(), np.repeat(values, 20)[None, :].repeat(100, axis=0))
        often = bands(row.cells[3])
        assert often == sorted(set(often))
        assert row.is_film
