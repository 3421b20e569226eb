"""`validate`: a second look at every de-identified study."""

import typer

from site_node.commands.advance import advance
from site_node.commands.options import Json
from site_node.home.ledger import State


def validate(context: typer.Context, as_json: Json = False) -> None:
    """Look at every de-identified study again, with another reader and other logic; what is clean enters the library.

    PHI ends here: a study in which anything is found goes no further. Reports lie in the home's reports folder.

    Example: `ricord-site validate`
    """
    advance(context, State.VALIDATED, as_json=as_json)
