"""`ricord-site`, the command line of the site node, assembled from the verbs in `site_node.commands`."""

from pathlib import Path
from typing import Annotated

import typer

from shared.terminal import make_app, run_app
from site_node.commands.agreement import agreement_app
from site_node.commands.clinical import clinical_app
from site_node.commands.deidentify import deidentify
from site_node.commands.enrol import enrol
from site_node.commands.explain import explain
from site_node.commands.federate import federate
from site_node.commands.init import init
from site_node.commands.key import key_app
from site_node.commands.pacs import pacs_app
from site_node.commands.pacs_send import send
from site_node.commands.receive import receive
from site_node.commands.review import review_app
from site_node.commands.run import run
from site_node.commands.screen import screen
from site_node.commands.seal import seal
from site_node.commands.status import status
from site_node.commands.submit import submit
from site_node.commands.validate import validate
from site_node.node.log_codes import log_codes_only

app = make_app(
    """Share chest imaging for research: de-identified and sealed at the hospital, or never leaving it.

    The way of the data: receive → screen → deidentify → validate → seal → submit. Patient data end at `validate`; only
    `submit`, `run` and `federate` send anything to the centre; `ricord-site explain --what-leaves` says exactly what.

    First steps: `init`, `agreement read`, `agreement sign`, `enrol`, `clinical import`, `receive`, `run`.
    """
)


@app.callback()
def main_options(
    context: typer.Context,
    home_folder: Annotated[
        Path | None,
        typer.Option("--home", envvar="RICORD_SITE_HOME", help="The site's folder: settings, keys, ledger, studies."),
    ] = None,
) -> None:
    """Store the home's folder for the verbs and limit logs to codes."""
    context.obj = home_folder
    log_codes_only()


app.command()(init)
app.add_typer(agreement_app, name="agreement")
app.command()(enrol)
app.command()(receive)
pacs_app.command()(send)
app.add_typer(pacs_app, name="pacs")
app.add_typer(clinical_app, name="clinical")
app.command()(screen)
app.command()(deidentify)
app.command()(validate)
app.add_typer(review_app, name="review")
app.command()(seal)
app.command()(submit)
app.command()(federate)
app.command()(run)
app.command()(status)
app.add_typer(key_app, name="key")
app.command()(explain)


def main() -> None:
    """Entry point of `ricord-site`."""
    run_app(app, "ricord-site")
