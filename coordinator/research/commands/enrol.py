"""`enrol`: become a member."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.research import home as research
from coordinator.research.commands.options import AsJson, home_of
from shared.terminal import print_json, print_line


def enrol(
    context: typer.Context,
    token: Annotated[str, typer.Option(help="The join token from the coordinators.")],
    key_passphrase_file: Annotated[
        Path | None, typer.Option(help="The file with the passphrase under which the keys are kept.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make this researcher's keys and enrol; with a new token again, after a certificate expired or was revoked.

    The coordinator learns the public halves. It signs runs only that your key has signed, and each hospital sees so.
    """
    home = home_of(context)
    membership = research.enrol(home, token, key_passphrase_file.resolve() if key_passphrase_file else None)
    fingerprint = home.load_keys().signing.fingerprint
    if as_json:
        print_json({"name": membership.name, "federation": membership.federation, "fingerprint": fingerprint})
    else:
        print_line(f"Researcher {membership.name} of {membership.federation}; signing key {fingerprint}.")
        print_line("Next: `ricord-research data` lists what you may ask.")
