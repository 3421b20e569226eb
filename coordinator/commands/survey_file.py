"""The CSV file that `site survey import` reads."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.proto.ricord.v1.site_pb2 import SurveyAnswer

_COLUMNS = ("name", "country", "modalities", "studies", "modes", "clinical_data", "ethics")
_YES_NO = {"yes": True, "no": False}


def read_survey(file: Path) -> list[SurveyAnswer]:
    """Every answer in a CSV file with a heading; raises `InvalidArgument` naming the first bad row."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return list(_answers(csv.DictReader(lines, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceMissing(source=str(file)) from error


def _answers(rows: "csv.DictReader[str]") -> Iterator[SurveyAnswer]:
    if set(rows.fieldnames or ()) != set(_COLUMNS):
        raise InvalidArgument(name="The heading", problem="its columns are " + ", ".join(_COLUMNS))
    for number, row in enumerate(rows, start=1):
        try:
            yield _answer(row)
        except ValueError as error:
            raise InvalidArgument(name=f"Answer {number}", problem=str(error)) from error


def _answer(row: Mapping[str | None, str | list[str] | None]) -> SurveyAnswer:
    cells = {name: value.strip() for name, value in row.items() if name is not None and isinstance(value, str)}
    if None in row or len(cells) != len(_COLUMNS):
        raise ValueError(f"it needs {len(_COLUMNS)} cells")
    if not cells["studies"].isdecimal():
        raise ValueError("studies is no number")
    if cells["clinical_data"] not in _YES_NO:
        raise ValueError("clinical_data is yes or no")
    return SurveyAnswer(
        site_name=cells["name"],
        country=cells["country"],
        modalities=_split(cells["modalities"]),
        studies=int(cells["studies"]),
        modes=_split(cells["modes"]),
        clinical_data=_YES_NO[cells["clinical_data"]],
        ethics=cells["ethics"],
    )


def _split(cell: str) -> list[str]:
    return [part.strip() for part in cell.split(";") if part.strip()]
