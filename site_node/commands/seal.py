"""`seal`: encrypt every validated study to the curator."""

import typer

from site_node.commands.advance import advance
from site_node.commands.options import Json
from site_node.home.ledger import State


def seal(context: typer.Context, as_json: Json = False) -> None:
    """Encrypt every validated study to the curator that the agreement names; only the curator can open it.

    Sealed studies lie in the home's outbox until they are submitted.

    Example: `ricord-site seal`
    """
    advance(context, State.SEALED, as_json=as_json)
