"""`ricord-site`, the command line of the site node, assembled from the verbs in `site_node.commands`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.terminal import Version, make_app, run_app

_LOG_ON_TERMINALS = frozenset({"run", "federate"})  # a person who calls another verb there reads its answer
_LOG_NOTHING = frozenset({"status", "health"})  # verbs that do not wait until the log's library is loaded

app = make_app(
    """Share chest imaging for research: de-identified and sealed at the hospital, or never leaving it.

    The way of the data: receive → screen → deidentify → validate → seal → submit. Patient data end at `validate`; only
    `submit`, `run` and `federate` send anything to the centre; `ricord-site explain --what-leaves` says exactly what.

    First steps: `init`, `agreement read`, `agreement sign`, `enrol`, `clinical import`, `receive`, `run`.
    """,
    package="site_node.commands",
    verbs=(
        *(
            "init",
            "agreement",
            "enrol",
            "receive",
            "pacs",
            "clinical",
            "screen",
            "deidentify",
            "validate",
            "review",
            "words",
        ),
        *(
            "seal",
            "submit",
            "submission",
            "withdraw",
            "federate",
            "run",
            "console",
            "witness",
            "status",
            "doctor",
            "health",
            "key",
            "backup",
            "restore",
            "explain",
        ),
    ),
)


@app.callback()
def main_options(
    context: typer.Context,
    home_folder: Annotated[
        Path | None,
        typer.Option("--home", envvar="RICORD_SITE_HOME", help="The site's folder: settings, keys, ledger, studies."),
    ] = None,
    version: Version = False,
) -> None:
    """Store the home's folder for the verbs and limit logs to codes."""
    del version
    context.obj = home_folder
    if context.invoked_subcommand not in _LOG_NOTHING:
        from site_node.node.log_codes import log_codes_only, silent

        log_codes_only()
        if sys.stderr.isatty() and context.invoked_subcommand not in _LOG_ON_TERMINALS:
            context.with_resource(silent())


def main() -> None:
    """Entry point of `ricord-site`."""
    run_app(app, "ricord-site", extras=("site", "federation", "simulation", "monitoring", "console"))


if __name__ == "__main__":
    main()
