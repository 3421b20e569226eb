"""Counting a site's studies by a cohort definition: whole, or the part that a plan's filters leave."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np

from shared.federation.asked import SCALE
from shared.federation.cohort import definition_of
from shared.federation.filter import Filter, check_filters
from shared.federation.secure_sum.vectors import Words
from shared.ids import Sha256
from shared.protocol.cohort import (
    STAY,
    TOTALS,
    CohortDefinition,
    Level,
    Mean,
    Variable,
    filled_cells,
    table_cell,
)
from site_node.home.library import LibrarySeries, LibraryStudy

ONE_STUDY = "one study"  # the text that `days` gives for a patient with a single study

Value = str | int | float | None


class CountedItem(NamedTuple):
    """What is counted: a patient (all studies, by date), a study (itself) or a series (itself, in its study)."""

    studies: Sequence[LibraryStudy]
    series: LibrarySeries | None = None


def vector_of(definition: CohortDefinition, studies: Sequence[LibraryStudy]) -> Words:
    """The counts, and for each mean the sums of its values and of their squares, shape (definition.length,)."""
    counts = count(definition, studies)
    sums = (word for mean in definition.means for word in _sums(definition, mean, studies))
    return np.array([*(counts[cell] for cell in definition.cells), *sums], dtype=np.uint64)


def _sums(definition: CohortDefinition, mean: Mean, studies: Sequence[LibraryStudy]) -> tuple[int, int]:
    """Of each recorded value as a share of its bounds, in fixed point: the sum, and that of the squares."""
    variable = definition.variable(mean.variable)
    items = _items(studies)[variable.unit]
    recorded = {f"{variable.name}/{category.label}" for category in variable.categories}
    values = [_value(variable, item) for item in items if recorded & {*_cells(definition, variable.unit, item)}]
    spread = mean.high - mean.low
    shares = [min(max((float(value or 0) - mean.low) / spread, 0), 1) for value in values]
    return sum(round(share * SCALE) for share in shares), sum(round(share**2 * SCALE) for share in shares)


def count(definition: CohortDefinition, studies: Sequence[LibraryStudy], *, once: bool = False) -> dict[str, int]:
    """Every cell's count; each patient, study or series falls into one category of each variable.

    With `once` each patient has one study and series, the first ones, and of the totals patients alone are counted.
    """
    counts: Counter[str] = Counter()
    for unit, items in _items(studies, once=once).items():
        counts[unit] = len(items)
        for item in items:
            counts.update(_cells(definition, unit, item))
    counts["images"] = sum(series.instance_count for study in studies for series in study.series)
    if once:
        for total in TOTALS[1:]:
            del counts[total]
    for field in definition.filled:
        recorded, missing = filled_cells(field)
        present = sum(_clinical([study], field) is not None for study in studies)
        counts.update({recorded: present, missing: len(studies) - present})
    return {cell: counts[cell] for cell in definition.cells}


def part_of(filters: Sequence[Filter], protocol_digest: Sha256, studies: Sequence[LibraryStudy]) -> list[LibraryStudy]:
    """The studies in which every filter's variable has one of its categories, whatever the other filters leave.

    Raises `PlanInvalid` where the cohort definition has no such variable or category, `ProtocolMismatch`.
    """
    if not filters:
        return list(studies)
    definition = definition_of(protocol_digest)
    check_filters(filters, definition)
    left = {study.study for study in studies}
    for each in filters:
        unit = definition.variable(each.variable).unit
        wanted = {f"{each.variable}/{category}" for category in each.categories}
        counted = (item for item in _items(studies)[unit] if wanted & {*_cells(definition, unit, item)})
        left &= {study.study for item in counted for study in item.studies}
    return [study for study in studies if study.study in left]


def _items(studies: Sequence[LibraryStudy], *, once: bool = False) -> dict[Level, list[CountedItem]]:
    patients: dict[str, list[LibraryStudy]] = defaultdict(list)
    for study in sorted(studies, key=lambda each: each.study_date):
        patients[study.patient].append(study)
    if once:
        studies = [each[0].model_copy(update={"series": each[0].series[:1]}) for each in patients.values()]
    return {
        "patients": [CountedItem(each) for each in patients.values()],
        "studies": [CountedItem([study]) for study in studies],
        "series": [CountedItem([study], series) for study in studies for series in study.series],
    }


def _cells(definition: CohortDefinition, unit: Level, item: CountedItem) -> list[str]:
    """The cells that one item is counted in."""
    variables = [variable for variable in definition.variables if variable.unit == unit]
    labels = {variable.name: variable.label_of(_value(variable, item)) for variable in variables}
    cells = {name: f"{name}/{label}" for name, label in labels.items()}
    counted = {each.name for each in variables if each.only is None or each.only in cells.values()}
    tables = (table for table in definition.tables if {table.rows, table.columns} <= counted)
    return [
        *(cell for name, cell in cells.items() if name in counted),
        *(table_cell(table, labels[table.rows], labels[table.columns]) for table in tables),
    ]


def _value(variable: Variable, item: CountedItem) -> Value:
    if variable.source in ("clinical", "image"):
        return _clinical(item.studies, variable.field)
    if variable.source == "series":
        value: Value = getattr(item.series, variable.field, None)
        return value
    if variable.field == "stay":
        return _stay(item.studies[0])
    return len(item.studies) if variable.field == "studies" else _days(item.studies)


def _clinical(studies: Sequence[LibraryStudy], field: str) -> Value:
    """The first recorded value of a clinical field."""
    values = ((study.clinical or {}).get(field) for study in studies)
    return next((value for value in values if value is not None and str(value).strip()), None)


def _days(studies: Sequence[LibraryStudy]) -> Value:
    """Days from the first study to the last; the patient's date shift does not change them."""
    if len(studies) == 1:
        return ONE_STUDY
    try:
        dates = [date(*time.strptime(study.study_date, "%Y%m%d")[:3]) for study in studies]
    except ValueError:
        return None
    return (max(dates) - min(dates)).days


def _stay(study: LibraryStudy) -> Value:
    """Days from admission to discharge, where both dates are there; the patient's date shift does not change them."""
    row = study.clinical or {}
    try:
        admitted, discharged = (date.fromisoformat(str(row.get(field))) for field in STAY)
    except ValueError:
        return None
    return (discharged - admitted).days
