"""Contact sheets, digests and prints of what was opened, an image, beside decoding the same images and nothing else."""

import shutil
from collections.abc import Sequence

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from compose.sample import films, volumes
from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.images import images_of
from coordinator.curation.review.overview import FOLDER, overview_of
from tests.benchmarks.archives import workspace
from tests.benchmarks.measure import Row, medians
from tests.factories.dicom import make_ct, make_dx
from tests.factories.reviewed import open_datasets

FILMS, SLICES = 2, 96


def rows() -> list[Row]:
    """Films of 7.5 megapixels and slices of 512 x 512, compressed without loss and not compressed."""
    table = list[Row]()
    with workspace() as folder:
        for kept, syntax in (("JPEG 2000", JPEG2000Lossless), ("native", ExplicitVRLittleEndian)):
            for what, datasets in (("film", draw_films()), ("CT slice", draw_slices())):
                name = f"{what}-{syntax}"
                studies = [open_datasets(folder / name, each, n, syntax=syntax) for n, each in enumerate(datasets)]
                table.append(measured(f"{what}s, {kept}", studies))
    return table


def measured(what: str, studies: Sequence[OpenedStudy]) -> Row:
    """Images a second on sheets, beside bare decoding."""
    count = sum(len(study.instances) for study in studies)
    seconds = medians({"sheets": lambda: draw(studies), "bare": lambda: decode(studies)})
    ratio = seconds["bare"] / seconds["sheets"]
    return Row(f"contact sheets, {what}", count / seconds["sheets"], "images/s", "bare decoding", ratio)


def draw(studies: Sequence[OpenedStudy]) -> None:
    """Make each study's overview anew."""
    for study in studies:
        shutil.rmtree(study.folder / FOLDER, ignore_errors=True)
        overview_of(study, 1)


def decode(studies: Sequence[OpenedStudy]) -> None:
    """Decode each frame once."""
    for study in studies:
        for image in images_of(study):
            for number in range(image.frames):
                image.values(number)


def draw_films() -> list[list[Dataset]]:
    """Studies of one film each."""
    rng, studies = np.random.default_rng(1), list[list[Dataset]]()
    for number in range(FILMS):
        thorax = Image.fromarray(films.frontal(rng, 1024, positive=True)).resize((2500, 3000))
        values = np.asarray(thorax) * 3500 + 200 + rng.normal(0, 8, (3000, 2500))
        film = make_dx(study=f"film-{number}")
        film.Rows, film.Columns, film.PixelData = 3000, 2500, values.clip(0, 4095).astype(np.uint16).tobytes()
        studies.append([film])
    return studies


def draw_slices() -> list[list[Dataset]]:
    """One CT."""
    axial = volumes.chest(np.random.default_rng(1), size=512, slices=SLICES, positive=True).axial
    slices = make_ct(slices=SLICES)
    for image, units in zip(slices, axial, strict=True):
        image.Rows = image.Columns = 512
        image.PixelData = (units.astype(np.int32) + 1024).clip(0, 4095).astype(np.uint16).tobytes()
    return [slices]
