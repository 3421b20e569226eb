"""`ricord-coordinator`: the coordinators' program, and under `curate` the curator's."""

import os
from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.home_folder import CURATOR_HOME_VARIABLE, HOME_VARIABLE, variable_of
from shared.terminal import Version, make_app, run_app

# They log nothing, and do not wait until the log's library is loaded; `health` is asked every half minute.
_LOG_NOTHING = frozenset({"cohort", "health"})

app = make_app(
    "The centre of a federation of hospitals: agreements, sealed studies, cohort summaries, federated runs.\n\n"
    "`init` founds a federation and `serve` runs it; every other verb is a call to a running coordinator, with the "
    "operator's certificate that `init` made. `curate` is the curator's own program, in a home of its own.",
    package="coordinator.commands",
    verbs=(
        "init",
        "serve",
        "token",
        "agreement",
        "site",
        "submission",
        "cohort",
        "run",
        "audit",
        "ca",
        "protocol",
        "doctor",
        "health",
        "backup",
        "restore",
        "reconcile",
        "console",
        "curate",
    ),
)


@app.callback()
def choose_home(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help=f"The home folder; else from {HOME_VARIABLE}, for `curate` from {CURATOR_HOME_VARIABLE}."),
    ] = None,
    version: Version = False,
) -> None:
    """Settle which home a verb works in."""
    del version
    if context.invoked_subcommand not in _LOG_NOTHING:
        from shared.logs import log_json_lines

        log_json_lines("ricord-coordinator")
    variable = variable_of(context)
    named = home or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    context.obj = named.expanduser().absolute() if named else None  # `folder_of` insists on one: help needs no home


def main() -> None:
    """Run the program."""
    run_app(app, "ricord-coordinator", extras=("coordinator", "curation", "federation", "monitoring"))


if __name__ == "__main__":
    main()
