"""`runs`: what this researcher has asked for."""

import typer

from coordinator.research.commands.options import AsJson, federation_of
from shared.terminal import print_json, print_table


def runs(context: typer.Context, as_json: AsJson = False) -> None:
    """Your runs, the oldest first; nobody else's is shown, nor yours to anybody but the operator."""
    rows = [(run.id, run.aim, run.news) for run in federation_of(context).runs()]
    if as_json:
        print_json([dict(zip(("id", "aim", "news"), row, strict=True)) for row in rows])
    else:
        print_table("Runs", ("id", "aim", "state"), rows)
