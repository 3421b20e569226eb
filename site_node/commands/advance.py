"""What the stages' verbs share: a pass of the pipeline, and what became of the studies, for the person who asked."""

from collections import Counter

import typer

from shared.terminal import print_json, print_line
from site_node.commands.options import node_of
from site_node.home.ledger import State
from site_node.node.passes import Pass, run_pass
from site_node.pixels.inspect import WITHOUT


def advance(context: typer.Context, until: State, *, as_json: bool) -> None:
    """Move the home's studies as far as `until` and say what became of them."""
    with node_of(context) as node:
        warn_without_pixel_check(pixel_check=until is State.INCLUDED or node.settings.pixel_check)
        done = run_pass(node, until)
    show_pass(done, as_json=as_json)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def warn_without_pixel_check(*, pixel_check: bool) -> None:
    """Say on standard error what is given up where the search for burned-in text is switched off."""
    if not pixel_check:
        typer.echo(f"warning: {WITHOUT}", err=True)


def show_pass(done: Pass, *, as_json: bool) -> None:
    """Show what a pass did, by the state its studies reached."""
    counts = Counter(state.value for state in done.reached.values())
    blocked = done.progress.blocked
    if as_json:
        error = {"code": blocked.code, "message": blocked.public} if blocked else None
        print_json({"moved": done.progress.moved, "reached": dict(sorted(counts.items())), "blocked": error})
        return
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    print_line(words + "." if words else "Nothing was waiting for this.")
    if blocked:
        typer.echo(f"error: {blocked.public}", err=True)
