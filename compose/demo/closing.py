"""The closing tables: how every study ended, the cohort, the model, and where everything lies."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import footnote, rows

ENDINGS = ("excluded", "quarantined", "refused", "waiting")


def show(console: Console, result: Mapping[str, Any]) -> None:
    """Print every table of the result."""
    console.print()
    console.print(studies(result["sites"]))
    if result["cohort"] is not None:
        console.print(cohort(result["cohort"]))
    if result["training"] is not None:
        console.print(training(result["training"]))
    console.print(locations(result["places"]))


def studies(sites: Sequence[Mapping[str, Any]]) -> Table:
    """For each site how many studies were received and where they ended, with the reasons."""
    table = Table("site", "received", title="Studies: where each ended, and why", title_justify="left")
    for name in (*ENDINGS, "submitted"):
        table.add_column(name, overflow="fold")
    for site in sites:
        cells = [total_and_reasons(site[name]) for name in ENDINGS]
        table.add_row(str(site["site_id"]), str(site["received"]), *cells, str(site["submitted"]))
    return table


def total_and_reasons(ending: Mapping[str, Any]) -> str:
    """The number of studies that ended so, and each reason with its count, one a line."""
    return "\n".join([str(ending["total"]), *(f"{count} {code}" for code, count in ending["reasons"].items())])


def cohort(table: Mapping[str, Any]) -> Table:
    """The released cohort."""
    released = ReleasedTable.model_validate(table)
    printed = Table(
        "figure", "category", "count", "share", title="Cohort", title_justify="left", caption=footnote(released)
    )
    for row in rows(released):
        printed.add_row(row.figure, row.category, row.shown, row.share)
    return printed


def training(result: Mapping[str, Any]) -> Table:
    """Seconds and AUC per round, pooled and of each site; last what the test patients say of the finished models."""
    rounds: Sequence[Mapping[str, Any]] = result["rounds"]
    ids = sorted({site["site_id"] for entry in rounds for site in entry["sites"]})
    title = "Federated training: AUC on each site's validation patients"
    said = [
        f"Test of round {test['model']['round']}: AUC {interval(test['pooled']['auc'])}" for test in result["tests"]
    ]
    table = Table("round", "seconds", "images", "loss", "all sites", *ids, title=title, title_justify="left")
    table.caption = "; ".join(said)
    for entry in rounds:
        aucs = {site["site_id"]: site["auc"] for site in entry["sites"]}
        figures = [figure(entry["training_loss"]), figure(entry["auc"]), *(figure(aucs.get(site)) for site in ids)]
        table.add_row(str(entry["round"]), f"{entry['seconds']:.1f}", str(entry["training_images"]), *figures)
    return table


def interval(value: Mapping[str, float] | None) -> str:
    """A figure with the ends of its 95 % interval."""
    return "withheld" if value is None else "{value:.3f} ({low:.3f} to {high:.3f})".format_map(value)


def figure(value: float | None) -> str:
    """Three decimals, or `withheld`."""
    return "withheld" if value is None else f"{value:.3f}"


def locations(paths: Mapping[str, str]) -> Table:
    """Where the model, the receipts, the audit log and the rest lie."""
    table = Table("what", title="Where it lies", title_justify="left")
    table.add_column("where", overflow="fold")
    for what, where in paths.items():
        table.add_row(what, where)
    return table
