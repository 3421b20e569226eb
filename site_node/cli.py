"""`ricord-site`: the command of the site node. The verbs are in `site_node.commands`; this puts them together."""

from pathlib import Path
from typing import Annotated

import typer

from shared.terminal import make_app, run_app
from site_node.commands import (
    advance,
    clinical,
    explain,
    init,
    linkage,
    membership,
    pacs,
    receive,
    review,
    run,
    screen,
    send,
    status,
)
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
    """Hold what every verb needs."""
    context.obj = home_folder
    log_codes_only()


app.command()(init.init)
app.add_typer(membership.agreement_app, name="agreement")
app.command()(membership.enrol)
app.command()(receive.receive)
pacs.pacs_app.command()(send.send)
app.add_typer(pacs.pacs_app, name="pacs")
app.add_typer(clinical.clinical_app, name="clinical")
app.command()(screen.screen)
app.command()(advance.deidentify)
app.command()(advance.validate)
app.add_typer(review.review_app, name="review")
app.command()(advance.seal)
app.command()(advance.submit)
app.command()(run.federate)
app.command()(run.run)
app.command()(status.status)
init.key_app.add_typer(linkage.linkage_app, name="linkage")
app.add_typer(init.key_app, name="key")
app.command()(explain.explain)


def main() -> None:
    """Entry point of `ricord-site`."""
    run_app(app, "ricord-site")
