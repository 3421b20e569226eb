"""`validate`: check every de-identified study a second time."""

import typer

from site_node.commands.advance import advance
from site_node.commands.options import Json
from site_node.home.ledger import State


def validate(context: typer.Context, as_json: Json = False) -> None:
    """Check every de-identified study again, with another reader and other logic; clean studies enter the library.

    PHI ends here: a study with any finding goes no further. Reports lie in the home's reports folder.

    Example: `ricord-site validate`
    """
    advance(context, State.VALIDATED, as_json=as_json)
