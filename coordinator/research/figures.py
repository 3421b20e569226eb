"""What a run showed, as rows: for a notebook, a CSV file and a table on the screen."""

import csv
import io
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from coordinator.cohort.quantiles import quantiles_of
from coordinator.cohort.released import ReleasedNoise, ReleasedTable
from coordinator.cohort.survival import survival_of

Row = Mapping[str, Any]
_ROUND = ("round", "site_id")


class Rows(Sequence[Row]):
    """Rows with the same columns; a figure that was withheld is `None`."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._columns = tuple(dict.fromkeys(name for row in rows for name in row))
        self._rows = [{name: row.get(name) for name in self._columns} for row in rows]

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return self.to_csv()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return self._columns

    def to_csv(self) -> str:
        """Comma-separated text (RFC 4180) with a head; what was withheld is empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return text.getvalue()

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`; raises `ModuleNotFoundError` where pandas is not installed."""
        return import_module("pandas").DataFrame(self._rows, columns=list(self._columns))


def rows_of(result: Mapping[str, Any]) -> Rows:
    """The rows of a training's or an evaluation's result, or of a cohort's table."""
    kinds = {"rounds": training_rows, "test": evaluation_rows, "cells": cohort_rows}
    return next(rows(result) for part, rows in kinds.items() if part in result)


def training_rows(result: Mapping[str, Any]) -> Rows:
    """A row for each round with the figures of all sites together, and one for each site that showed its own."""
    rows = list[Row]()
    for finished in result["rounds"]:
        number = finished["round"]
        rows.append({"round": number, "site_id": "", **_figures(finished)})
        rows += [{"round": number, "site_id": site["site_id"], **_figures(site)} for site in finished["sites"]]
    return Rows(rows)


def evaluation_rows(result: Mapping[str, Any]) -> Rows:
    """A row with the AUC of all sites together and its interval, and one for each site that showed its own."""
    test = result["test"]
    tested = [("", test["pooled"]["auc"]), *((site["site_id"], site["auc"]) for site in test["sites"])]
    return Rows([{"site_id": site, **(auc or dict.fromkeys(("value", "low", "high")))} for site, auc in tested])


def cohort_rows(table: Mapping[str, Any]) -> Rows:
    """A row for each cell of a released table; `count` is `None` where it is hidden. Noisy ones have an interval."""
    rows = [{"cell": cell["name"], "count": cell["count"]} for cell in table["cells"]]
    if (given := table.get("noise")) is None:
        return Rows(rows)
    noise = ReleasedNoise.model_validate(given)
    intervals = ((None, None) if row["count"] is None else noise.interval(row["count"]) for row in rows)
    return Rows([{**row, "low": low, "high": high} for row, (low, high) in zip(rows, intervals, strict=True)])


def quantile_rows(table: ReleasedTable) -> Rows:
    """A row for each quantile and extreme of a released table's numbers; `bin` is `None` where it cannot be told."""
    return Rows([each._asdict() for each in quantiles_of(table)])


def mean_rows(table: ReleasedTable) -> Rows:
    """A row for each mean of a released table, with its standard deviation; `None` where they are withheld."""
    titles = {variable.name: variable.title for variable in table.definition.variables}
    return Rows([{"title": titles[each.variable], **each.model_dump()} for each in table.means])


def survival_rows(table: ReleasedTable) -> Rows:
    """A row for each bin of days of a released table of stays by outcome; none without one."""
    return Rows([each._asdict() for each in survival_of(table)])


def _figures(values: Mapping[str, Any]) -> Row:
    """What is a single number or nothing."""
    return {
        name: value
        for name, value in values.items()
        if name not in _ROUND and (value is None or isinstance(value, int | float))
    }
