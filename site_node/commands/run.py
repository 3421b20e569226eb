"""`run`: run the node as a service, or everything once."""

from typing import Annotated

import typer

from shared.terminal import print_line
from site_node.commands.advance import show_pass, warn_without_pixel_check
from site_node.commands.options import Json, node_of
from site_node.node.service import run_once, serve, until_signal
from site_node.review.retry import retry as retry_study


def run(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Receive the inbox, move every study as far as it can go, then end.")
    ] = False,
    retry: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="First send back to where it stopped a study that was refused or met a defect; may be repeated.",
        ),
    ] = None,
    federation: Annotated[bool, typer.Option(help="Take part in federated work as the policy allows.")] = True,
    as_json: Json = False,
) -> None:
    """Run the node: receive what is put into the inbox, take every study through the stages, submit, federate.

    It resumes where it stopped, also after a crash, and ends cleanly on Ctrl-C or SIGTERM. What leaves the hospital:
    sealed studies with their manifests, and answers to federated work that federation-policy.toml allows.

    Example: `ricord-site run`
    """
    with node_of(context) as node, until_signal() as stop:
        warn_without_pixel_check(pixel_check=node.settings.pixel_check)
        for reference in retry or ():
            retry_study(node.home, node.ledger, reference)
        if not once:
            serve(node, stop, federation=federation, ready=lambda: print_line("ready"))
            return
        completed = run_once(node, stop)
    show_pass(completed, as_json=as_json)
    if completed.progress.blocked is not None:
        raise typer.Exit(completed.progress.blocked.exit_code)
