"""`submit`: send sealed studies to the coordinator."""

import typer

from site_node.commands.advance import advance
from site_node.commands.options import Json
from site_node.home.ledger import State


def submit(context: typer.Context, as_json: Json = False) -> None:
    """Send every study as far as a receipt that the coordinator signed; stages before are done where they wait.

    What leaves the hospital: sealed studies and their manifests. An upload that is cut short resumes.

    Example: `ricord-site submit`
    """
    advance(context, State.SUBMITTED, as_json=as_json)
