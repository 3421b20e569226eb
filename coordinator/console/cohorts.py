"""Cohorts: released tables with a bar for each count, and as CSV."""

import csv
import io
import re
from collections.abc import Iterator

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import Row, footnote, grids, rows
from coordinator.console.centre import Centre
from coordinator.console.moments import moment_of
from shared.proto.ricord.v1 import cohort_pb2 as pb
from shared.proto.ricord.v1.cohort_pb2_grpc import CohortServiceStub
from shared.web.console import Page
from shared.web.drawing import Bar, bars
from shared.web.visit import Answer, Content, Shown, Visit

_NUMBER = re.compile(r"[0-9]+")


class CohortPages:
    """The list, one table, and its file."""

    def __init__(self, centre: Centre) -> None:
        self._centre = centre

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/cohorts", self._list),
            Page("GET", "/cohorts/{table}", self._table),
            Page("GET", "/cohorts/{table}/csv", self._csv),
        )

    def _list(self, visit: Visit) -> Answer:
        with self._centre.asking(visit.person) as asking:
            cohorts = asking.ask(CohortServiceStub(asking.channel).ListCohorts, pb.ListCohortsRequest()).cohorts
        return Shown("cohorts.html", {"rows": [(each, moment_of(each.computed_at)) for each in reversed(cohorts)]})

    def _table(self, visit: Visit) -> Answer:
        table = self._released(visit)
        values = {"table": table, "figures": list(_figures(table)), "grids": grids(table), "footnote": footnote(table)}
        return Shown("cohort.html", values)

    def _csv(self, visit: Visit) -> Answer:
        table, text = self._released(visit), io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(("figure", "category", "count"))
        writer.writerows((row.figure, row.category, row.shown) for row in rows(table, empty=True))
        return Content(text.getvalue().encode(), "text/csv; charset=utf-8", f"{table.id}.csv")

    def _released(self, visit: Visit) -> ReleasedTable:
        with self._centre.asking(visit.person) as asking:
            request = pb.GetCohortRequest(id=visit.values["table"])
            answer = asking.ask(CohortServiceStub(asking.channel).GetCohort, request)
        return ReleasedTable.model_validate_json(answer.cohort.table)


def _figures(table: ReleasedTable) -> Iterator[tuple[str, list[tuple[Row, Bar]]]]:
    """Each figure with its rows and their bars; what is hidden has none."""
    by_figure = dict[str, list[Row]]()
    for row in rows(table):
        by_figure.setdefault(row.figure, []).append(row)
    for figure, lines in by_figure.items():
        drawn = bars((row.category, int(row.shown) if _NUMBER.fullmatch(row.shown) else 0) for row in lines)
        yield figure, list(zip(lines, drawn, strict=True))
