"""`health`: whether the node of this home runs and goes on."""

import typer

from shared.terminal import print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.monitoring.health import check_health


def health(context: typer.Context, as_json: Json = False) -> None:
    """Ask whether the node runs and is not stuck: for a container's health check and for whoever supervises it.

    It costs little and changes nothing. Exit code 5: no node runs in this home. Exit code 1: it runs, and has given no
    sign of life for a minute while it waits, or for half an hour while it works. `doctor` says more.

    Example: `ricord-site health`
    """
    check_health(home_of(context))
    if as_json:
        print_json({"healthy": True})
    else:
        print_line("The node runs and goes on.")
