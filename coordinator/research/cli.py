"""`ricord-research`: the researcher's program."""

import os
from pathlib import Path
from typing import Annotated

import typer

from shared.terminal import Version, make_app, run_app

HOME_VARIABLE = "RICORD_RESEARCH_HOME"

app = make_app(
    "Ask a question of many hospitals: write a plan, try it, propose it, follow it, keep what it showed.\n\n"
    "What you sign is what runs. An operator releases it, each hospital decides, and no figure of a single patient "
    "leaves any of them. From Python: `coordinator.research.federation.Federation`.",
    package="coordinator.research.commands",
    verbs=("enrol", "data", "plan", "simulate", "submit", "runs", "watch", "results", "plot", "console"),
)


@app.callback()
def choose_home(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help=f"The home folder; else from {HOME_VARIABLE}.")] = None,
    version: Version = False,
) -> None:
    """Settle which home a verb works in."""
    del version
    named = home or (Path(os.environ[HOME_VARIABLE]) if os.environ.get(HOME_VARIABLE) else None)
    context.obj = named.expanduser().absolute() if named else None  # `home_of` insists on one: help needs no home


def main() -> None:
    """Run the program."""
    run_app(app, "ricord-research", extras=("research",))


if __name__ == "__main__":
    main()
