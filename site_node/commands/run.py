"""`run`: the node as a service, or one pass of everything."""

from typing import Annotated

import typer

from shared.terminal import print_line
from site_node.commands.advance import show_pass, warn_without_pixel_check
from site_node.commands.options import Json, node_of
from site_node.node.service import run_once, serve, until_signal


def run(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Take the inbox and every study as far as it goes, then end.")
    ] = False,
    federation: Annotated[bool, typer.Option(help="Take part in federated work as the policy allows.")] = True,
    as_json: Json = False,
) -> None:
    """Run the node: receive what is put into the inbox, take every study through the stages, submit, federate.

    It goes on where it stopped, also after a crash, and ends orderly on Ctrl-C or SIGTERM. What leaves the hospital:
    sealed studies with their manifests, and answers to federated work that federation-policy.toml allows.

    Example: `ricord-site run`
    """
    with node_of(context) as node, until_signal() as stop:
        warn_without_pixel_check(pixel_check=node.settings.pixel_check)
        if not once:
            serve(node, stop, federation=federation, ready=lambda: print_line("ready"))
            return
        done = run_once(node, stop)
    show_pass(done, as_json=as_json)
    if done.progress.blocked is not None:
        raise typer.Exit(done.progress.blocked.exit_code)
