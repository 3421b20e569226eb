"""`key`: show the site's fingerprint, back up and restore its pseudonym secret."""

from pathlib import Path
from typing import Annotated

import typer

from shared.crypto.keys import load_flower_public, load_secret, load_signing, write_private
from shared.terminal import make_app, print_json, print_line
from site_node.commands.linkage import linkage_app
from site_node.commands.options import Json, home_of
from site_node.home.ledger import Ledger
from site_node.home.secret import check_secret

key = make_app("Show the site's fingerprint, and back up or restore the secret behind its pseudonyms.")


@key.command()
def fingerprint(context: typer.Context, as_json: Json = False) -> None:
    """Show the fingerprint of the site's signing key, to compare with the coordinator by telephone.

    Example: `ricord-site key fingerprint`
    """
    home = home_of(context)
    home.load()
    signing, flower = load_signing(home.signing_key), load_flower_public(home.flower_key)
    if as_json:
        print_json({"fingerprint": signing.fingerprint, "verify_key": signing.public.text, "flower_key": flower})
    else:
        print_line(signing.fingerprint)


@key.command()
def backup(context: typer.Context, file: Annotated[Path, typer.Argument(help="A new file, in a safe place.")]) -> None:
    """Copy the pseudonym secret to a new file that only its owner can read.

    Without the secret no later study of a known patient gets the same pseudonym, and no pseudonym can be traced back.
    Who holds it and a list of hospital numbers can trace them: keep the copy in a safe, not beside the data.

    Example: `ricord-site key backup /media/safe/pseudonym.key`
    """
    home = home_of(context)
    home.load()
    write_private(file.absolute(), load_secret(home.pseudonym_key))
    print_line(
        f"The pseudonym secret is copied to {file}; keep it in a safe. The ledger is not in it: back up the home."
    )


@key.command()
def restore(context: typer.Context, file: Annotated[Path, typer.Argument(help="A file that `backup` made.")]) -> None:
    """Put a backed-up pseudonym secret back in place.

    Only the secret that this home's ledger was begun with is accepted; another would give known
    patients new pseudonyms.

    Example: `ricord-site key restore /media/safe/pseudonym.key`
    """
    home = home_of(context)
    home.load()
    secret = load_secret(file.absolute())
    ledger = Ledger(home.ledger)
    try:
        check_secret(secret, ledger, file)
    finally:
        ledger.close()
    write_private(home.pseudonym_key, secret, replace=True)
    print_line("The pseudonym secret is in place.")


key.add_typer(linkage_app, name="linkage")
