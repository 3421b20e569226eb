"""`submit`: send sealed studies to the coordinator."""

import typer

from site_node.commands.advance import advance
from site_node.commands.options import Json
from site_node.home.ledger import State


def submit(context: typer.Context, as_json: Json = False) -> None:
    """Send every study until the coordinator has signed a receipt; earlier stages run first where they are due.

    What leaves the hospital: sealed studies and their manifests. An interrupted upload resumes.

    Example: `ricord-site submit`
    """
    advance(context, State.SUBMITTED, as_json=as_json)
