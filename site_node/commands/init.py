"""`init`: make the site's home."""

from typing import Annotated

import typer

from shared.crypto.keys import load_secret, load_signing
from shared.federation.bundle import bundle_digest
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, home_of
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger
from site_node.home.secret import check_secret


def init(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="The hospital's name, as the coordinator's staff know it.")] = "",
    protocol: Annotated[str, typer.Option(help="The protocol that the agreement will be about.")] = "ricord",
    as_json: Json = False,
) -> None:
    """Make the site's home: settings, keys and ledger, all in one folder that only its owner can read.

    The keys are made here and never leave. Nothing is sent to anyone.

    Example: `ricord-site --home /srv/ricord init --name "General Hospital"`
    """
    home = init_home(home_of(context).folder, name=name or home_of(context).folder.name, protocol=protocol)
    ledger = Ledger(home.ledger)
    check_secret(load_secret(home.pseudonym_key), ledger, home.pseudonym_key)
    ledger.close()
    write_default_policy(home.folder / POLICY_FILE)
    fingerprint = load_signing(home.signing_key).fingerprint
    if as_json:
        print_json({"home": str(home.folder), "fingerprint": fingerprint, "bundle": bundle_digest()})
        return
    print_line(f"The home is {home.folder}; its settings are in {home.settings_file.name}.")
    print_line(f"Fingerprint, to compare by telephone: {fingerprint}")
    print_line("Next: back up the pseudonym secret (`ricord-site key backup FILE`), then `ricord-site agreement read`.")
