"""`plan`: write a plan, and check it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from coordinator.research.commands.options import AsJson, PlanFile, federation_of
from coordinator.research.plans import TEMPLATES, check_plan, read_plan
from shared.durable import write_whole
from shared.errors.inputs import InvalidArgument
from shared.manifest import canonical_json
from shared.terminal import make_app, print_json, print_line

plan = make_app("Plans: what is asked, as TOML or JSON; the same value as `Training` and `Statistics` in Python.")


@plan.command()
def new(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    purpose: Annotated[
        Literal["statistics", "training", "evaluation"], typer.Option(help="What is asked.")
    ] = "statistics",
) -> None:
    """Write a first plan with every line explained; say in it what it is for."""
    if file.exists():
        raise InvalidArgument(name="The file", problem=f"{file} is there already; nothing was changed")
    write_whole(file, TEMPLATES[purpose].encode())
    print_line(f"{file} is a plan for {purpose}. Fill in `aim`, then: `ricord-research plan check {file}`.")


@plan.command()
def check(
    context: typer.Context,
    file: PlanFile,
    offline: Annotated[
        bool, typer.Option("--offline", help="By the protocol of this release, without asking the coordinator.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that a plan holds and names what is offered; nothing is sent. With --json, the plan as it is signed."""
    request = read_plan(file)
    check_plan(request, None if offline else federation_of(context).offered())
    if as_json:
        print_json(request)
    else:
        size = len(canonical_json(request))
        print_line(f"{file} is valid: {request.purpose}, {size} bytes to sign. Next: `ricord-research submit {file}`.")
