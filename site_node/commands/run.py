"""`run`: run the node as a service, or everything once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from shared.monitoring.otlp import exporting
from shared.terminal import print_json, print_line
from site_node.commands.advance import show_pass, warn_without_pixel_check
from site_node.commands.console import served
from site_node.commands.options import Json, PersonIfAny, checked_name, node_of
from site_node.node.open import Node
from site_node.node.service import run_once, serve, until_signal
from site_node.review.retry import retry as retry_study


def run(
    context: typer.Context,
    *,
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
    person: PersonIfAny = "",
    federation: Annotated[bool, typer.Option(help="Take part in federated work as the policy allows.")] = True,
    as_json: Json = False,
) -> None:
    """Run the node: receive what is put into the inbox, take every study through the stages, submit, federate.

    It resumes where it stopped, also after a crash, and ends cleanly on Ctrl-C or SIGTERM. What leaves the hospital:
    sealed studies with their manifests, and answers to federated work that federation-policy.toml allows.

    With --retry beside a node that is running, that node takes the studies on, and the command ends.

    Example: `ricord-site run`
    """
    if retry and _is_left_to_node(context, retry, checked_name(person)):
        if as_json:
            print_json({"retried": retry, "node_running": True})
        else:
            print_line("The node that is running goes on with it.")
        return
    with (
        node_of(context) as node,
        exporting(node.settings.otlp, "ricord-site"),
        until_signal() as stop,
        _with_console(node, once=once),
    ):
        warn_without_pixel_check(pixel_check=node.settings.pixel_check)
        if not once:
            serve(node, stop, federation=federation, ready=lambda: print_line("ready"))
            return
        completed = run_once(node, stop)
    show_pass(completed, as_json=as_json)
    if completed.progress.blocked is not None:
        raise typer.Exit(completed.progress.blocked.exit_code)


@contextmanager
def _with_console(node: Node, *, once: bool) -> Iterator[None]:
    """Serve the pages while the node runs, where its settings say so."""
    if once or node.settings.console is None:
        yield
        return
    with served(node.home, node.settings.console):
        yield


def _is_left_to_node(context: typer.Context, references: list[str], person: str) -> bool:
    """Send studies back, and say whether a node is running that goes on with them."""
    with node_of(context, writing=False) as node:
        for reference in references:
            retry_study(node.home, node.ledger, reference, actor=person)
        return node.home.is_served()
