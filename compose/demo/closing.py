"""The closing tables: what became of every study, the cohort, the model, and where everything lies."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, rows

PLACES = ("excluded", "quarantined", "refused", "waiting")


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print every table of the result."""
    console.print()
    console.print(studies(result["sites"]))
    if result["cohort"] is not None:
        console.print(cohort(result["cohort"]))
    if result["training"] is not None:
        console.print(training(result["training"]["rounds"]))
    console.print(places(result["places"]))


def studies(sites: Sequence[Mapping[str, Any]]) -> Table:
    """For each site how many studies were received and where they ended, with the reasons."""
    table = Table("site", "received", title="Studies: where each ended, and why", title_justify="left")
    for name in (*PLACES, "submitted"):
        table.add_column(name, overflow="fold")
    for site in sites:
        cells = [place(site[name]) for name in PLACES]
        table.add_row(str(site["site_id"]), str(site["received"]), *cells, str(site["submitted"]))
    return table


def place(found: Mapping[str, Any]) -> str:
    """A count and its reasons, one a line."""
    return "\n".join([str(found["total"]), *(f"{count} {code}" for code, count in found["reasons"].items())])


def cohort(table: Mapping[str, Any]) -> Table:
    """The released cohort."""
    released = ReleasedTable.model_validate(table)
    shown = Table(
        "figure", "category", "count", "share", title="Cohort", title_justify="left", caption=footnote(released)
    )
    for row in rows(released):
        shown.add_row(row.figure, row.category, row.shown, row.share)
    return shown


def training(rounds: Sequence[Mapping[str, Any]]) -> Table:
    """AUC per round, pooled and of each site."""
    ids = sorted({site["site_id"] for each in rounds for site in each["sites"]})
    title = "Federated training: AUC on each site's validation patients"
    table = Table("round", "images", "loss", "all sites", *ids, title=title, title_justify="left")
    for each in rounds:
        of = {site["site_id"]: site["auc"] for site in each["sites"]}
        figures = [figure(each["training_loss"]), figure(each["auc"]), *(figure(of.get(site)) for site in ids)]
        table.add_row(str(each["round"]), str(each["training_images"]), *figures)
    return table


def figure(value: float | None) -> str:
    """Three decimals; what a site withheld is `withheld`."""
    return "withheld" if value is None else f"{value:.3f}"


def places(found: Mapping[str, str]) -> Table:
    """Where the model, the receipts, the audit log and the rest lie."""
    table = Table("what", title="Where it lies", title_justify="left")
    table.add_column("where", overflow="fold")
    for what, where in found.items():
        table.add_row(what, where)
    return table
