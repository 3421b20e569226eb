"""A site whose patients each have one small film and a row in the clinical sheet: every study is eligible."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from site_node.clinical.table import read_table
from site_node.home.folder import SiteHome
from site_node.node.clinical_sheets import import_sheet
from site_node.node.open import open_node
from tests.factories.dicom import make_dx, write_file


def prepare(home: SiteHome, patients: Iterable[str], *, workers: int) -> None:
    """Import a clinical sheet with the `patients`; switch off the pixel check, whose models take seconds to load."""
    text = home.settings_file.read_text()
    changes = (
        ("pixel_check = true", "pixel_check = false"),
        ("workers = 0", f"workers = {workers}"),
        ("poll_seconds = 10.0", "poll_seconds = 0.1"),
    )
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    home.settings_file.write_text(text)
    sheet = home.folder / "clinical.csv"
    rows = [f"{patient},positive,rt-pcr,,," for patient in patients]
    sheet.write_text("\n".join(["mrn,covid_status,covid_method,covid_timing,age,sex", *rows]) + "\n")
    with open_node(home) as node:
        import_sheet(node, sheet, read_table(sheet), None, actor="A. Miller")


def film(home: SiteHome, patient: str, *, rows: int = 64, noise: bool = False) -> Path:
    """A patient's film, outside the inbox; with `noise`, which no compression makes smaller, 1.5 bytes a pixel."""
    file, dataset = home.folder / f"{patient}.dcm", make_dx(study=patient, PatientID=patient, rows=rows)
    if noise:
        dataset.PixelData = np.random.default_rng().integers(0, 4096, rows * rows, dtype=np.uint16).tobytes()
    write_file(dataset, file)
    return file


def deliver(home: SiteHome, *films: Path) -> None:
    """Move films into the inbox, each whole."""
    for file in films:
        shutil.move(file, home.folder / "inbox")
