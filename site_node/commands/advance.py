"""Shared by the stages' verbs: run one pass of the pipeline and show what became of the studies."""

from collections import Counter

import typer

from shared.terminal import print_json, print_line
from site_node.commands.options import node_of
from site_node.home.ledger import State
from site_node.node.passes import Pass, run_pass


def advance(context: typer.Context, until: State, *, as_json: bool) -> None:
    """Move the home's studies up to the state `until` and show what became of them."""
    with node_of(context) as node:
        warn_without_pixel_check(pixel_check=until is State.INCLUDED or node.settings.pixel_check)
        completed = run_pass(node, until, shown=True)
    show_pass(completed, as_json=as_json)
    if completed.exit_code:
        raise typer.Exit(completed.exit_code)


def warn_without_pixel_check(*, pixel_check: bool) -> None:
    """Warn on standard error where the search for burned-in text is switched off."""
    if not pixel_check:
        from site_node.pixels.inspect import WITHOUT

        typer.echo(f"warning: {WITHOUT}", err=True)


def show_pass(completed: Pass, *, as_json: bool) -> None:
    """Show how many studies of a pass reached each state."""
    counts = Counter(state.value for state in completed.reached.values())
    blocked = completed.progress.blocked
    if as_json:
        error = {"code": blocked.code, "message": blocked.public} if blocked else None
        print_json({"moved": completed.progress.moved, "reached": dict(sorted(counts.items())), "blocked": error})
        return
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    print_line(words + "." if words else "Nothing was waiting for this.")
    if blocked:
        typer.echo(f"error: {blocked.public}", err=True)
