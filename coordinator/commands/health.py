"""`health`: whether the coordinator of this home runs and answers."""

from typing import Annotated

import typer

from coordinator.commands.output import AsJson, home_of
from coordinator.monitoring.health import check_engine, check_health
from shared.terminal import print_json, print_line


def health(
    context: typer.Context,
    federation_only: Annotated[
        bool, typer.Option("--federation-only", help="Ask for `serve --federation-only`, which plain `serve` is not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask whether `serve` runs and answers: for a container's health check and for whoever supervises it.

    It asks the enrolment port of this machine, and through it the database; it costs little and changes nothing. Exit
    code 5: nothing answers. Exit code 1: it answers, and its database does not. `doctor` says more.
    """
    home = home_of(context)
    if federation_only:
        check_engine(home)
    else:
        check_health(home)
    if as_json:
        print_json({"healthy": True})
    else:
        print_line("It runs and answers.")
