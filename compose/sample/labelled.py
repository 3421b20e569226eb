"""A folder of films with a table of labels: what a researcher tries a plan on before hospitals are asked."""

import csv
from pathlib import Path

import numpy as np

from compose.sample.archive import Archive
from compose.sample.people import HOSPITALS

FIELDS = ("covid_status", "covid_method", "age", "sex", "finding", "pneumonia")


def write_labelled(folder: Path, *, hospital: int, seed: int, films: int = 48) -> Path:
    """Write hospital 1, 2 or 3 into `folder`: one film of each of `films` invented patients, and `clinical.csv`."""
    archive = Archive(folder / "films", HOSPITALS[hospital - 1], np.random.default_rng([seed, hospital]), seed)
    for number in range(films):
        archive.film(archive.person(), 0, f"film {number}")
    with (folder / "clinical.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ("AccessionNumber", *FIELDS), extrasaction="ignore")
        table.writeheader()
        table.writerows({"AccessionNumber": row["accession"], **row} for row in archive.rows)
    return folder
