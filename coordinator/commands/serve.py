"""`serve`: run the coordinator in its home."""

from typing import Annotated

import typer

from coordinator.commands.output import home_of
from shared.errors.inputs import InvalidArgument


def serve(
    context: typer.Context,
    no_federation: Annotated[bool, typer.Option("--no-federation", help="The two gRPC ports only.")] = False,
    federation_only: Annotated[bool, typer.Option("--federation-only", help="Flower's side only.")] = False,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Serve until SIGTERM: enrolment, main and, unless told otherwise, the federation beside them."""
    if no_federation and federation_only:
        raise InvalidArgument(name="--federation-only", problem="it contradicts --no-federation")
    from coordinator.service.composition import run, run_federation

    home = home_of(context)
    if federation_only:
        run_federation(home, supervised=supervised)
    else:
        run(home, federation=not no_federation, ready=typer.echo)  # `echo` flushes: programs wait for the line
