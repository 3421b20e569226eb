"""An overview of a study: each image is decoded once, for its prints and for the contact sheets.

What is made lies in the study's own folder, so that it goes when the study goes.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.contact_sheet import Row, Slices, empty_row, film_row, sheets_of
from coordinator.curation.review.images import Image, images_of
from coordinator.curation.review.prints import ImagePrint, Printed, Printer, check_decoding, check_prints
from coordinator.curation.review.verdict import CheckResult
from shared.durable import new_file, publish_folder, unfinished_folder, write_whole
from shared.errors.studies import PixelsUnreadable
from shared.frozen import Frozen
from shared.ids import Sha256, Uid
from shared.manifest import canonical_json

FOLDER, _LIST = "overview", "overview.json"


class SheetFile(Frozen):
    """A contact sheet's file, and which of the study's images it shows."""

    name: str
    instances: tuple[Uid, ...]


class Overview(Frozen):
    """What was made of a study's images, as `overview.json` holds it."""

    submission: Sha256
    case_number: int
    images: tuple[ImagePrint, ...]
    sheets: tuple[SheetFile, ...]


class OverviewFolder(NamedTuple):
    """An overview, and the folder in which its sheets lie."""

    folder: Path
    overview: Overview

    @property
    def sheets(self) -> tuple[Path, ...]:
        """Their files in their order."""
        return tuple(self.folder / sheet.name for sheet in self.overview.sheets)


def overview_of(study: OpenedStudy, case_number: int) -> OverviewFolder:
    """The overview that lies with a study, else a new one; raises `DiskFull`."""
    folder = study.folder / FOLDER
    overview = _kept(study, folder, case_number) or _make_overview(study, folder, case_number)
    return OverviewFolder(folder, overview)


class PixelReview:
    """The checks of decoded pixels over all studies that are open, whose `case_numbers` name them on sheets."""

    def __init__(self, opened: Iterable[OpenedStudy], case_numbers: Mapping[Sha256, int]) -> None:
        self._case_numbers = case_numbers
        self._printed = tuple(map(self._print, opened))

    def check(self, study: OpenedStudy) -> Iterator[CheckResult]:
        """Whether its images decode and show something, and where else their pixels or the like of them are."""
        printed = self._print(study)
        yield from check_decoding(printed)
        yield from check_prints(printed, self._printed)

    def _print(self, study: OpenedStudy) -> Printed:
        made = overview_of(study, self._case_numbers[study.submission])
        return Printed(study.submission, study.contents.patient, made.overview.images)


def copy_sheets(study: OpenedStudy, case_number: int, out: Path) -> tuple[SheetFile, ...]:
    """Write a study's sheets into `out`, named by case and number; returns them. Raises `DiskFull`, `OSError`."""
    made = overview_of(study, case_number)
    copies = list[SheetFile]()
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    for sheet, file in zip(made.overview.sheets, made.sheets, strict=True):
        copies.append(sheet.model_copy(update={"name": f"case-{case_number}-{sheet.name}"}))
        write_whole(out / copies[-1].name, file.read_bytes(), mode=0o600)
    return tuple(copies)


def _kept(study: OpenedStudy, folder: Path, case_number: int) -> Overview | None:
    try:
        overview = Overview.model_validate_json((folder / _LIST).read_bytes())
    except (FileNotFoundError, ValidationError):  # none yet, or one of another release
        return None
    images = {image.instance for image in overview.images}
    is_same = (overview.submission, overview.case_number) == (study.submission, case_number)
    return overview if is_same and images == {path.stem for path in study.instances} else None


def _make_overview(study: OpenedStudy, target: Path, case_number: int) -> Overview:
    prints, sheets = list[ImagePrint](), list[SheetFile]()
    with unfinished_folder(target, mode=0o700) as folder:
        for number, sheet in enumerate(sheets_of(_rows(images_of(study), prints), case_number), 1):
            name = f"sheet-{number:04}.png"
            with new_file(folder / name, mode=0o600) as file:
                sheet.picture.save(file, format="PNG", compress_level=1)
            sheets.append(SheetFile(name=name, instances=sheet.instances))
        overview = Overview(
            submission=study.submission, case_number=case_number, images=tuple(prints), sheets=tuple(sheets)
        )
        write_whole(folder / _LIST, canonical_json(overview), mode=0o600)
        publish_folder(folder, target)
    return overview


def _rows(images: Iterable[Image], prints: list[ImagePrint]) -> Iterator[Row]:
    """The rows of the sheets in their order; the prints are added as images are decoded."""
    slices = Slices()
    for image in images:
        printer = Printer(image)
        try:
            for number in range(image.frames):
                stored = image.values(number)
                printer.add(stored)
                if image.is_film:
                    yield film_row(image, stored)
                else:
                    yield from slices.add(image, stored)
        except PixelsUnreadable:
            printer.is_broken = True
        prints.append(printer.printed)
        if prints[-1].pixels is None:
            yield empty_row(image)
    yield from slices.rest()
