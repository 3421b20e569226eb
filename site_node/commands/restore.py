"""`restore`: make a home again from the file that `backup` wrote."""

from pathlib import Path
from typing import Annotated

import typer

from shared.terminal import print_json, print_line
from site_node.backup.restore import SECOND_PSEUDONYMS
from site_node.backup.restore import restore as restore_home
from site_node.commands.options import Json, home_of


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.", show_default=False)],
    identity: Annotated[Path, typer.Option("--identity", metavar="KEYFILE", help="The private key it is sealed to.")],
    as_json: Json = False,
) -> None:
    """Restore a home into an empty folder. It waits until a person lets it go on; nothing is sent.

    Stop the node of the old home for good first: two homes of one site contradict each other.

    Example: `ricord-site --home /srv/ricord restore /mnt/backup/ricord.age --identity /media/safe/backup.key`
    """
    home = home_of(context)
    facts = restore_home(home, file.absolute(), identity.absolute())
    if as_json:
        print_json(facts)
        return
    print_line(
        f"The home of site {facts.name}, {facts.fingerprint}, is as it was on {facts.made_at:%Y-%m-%d %H:%M} UTC."
    )
    print_line(SECOND_PSEUDONYMS)
    print_line("Next: copy the folders of images back, then `ricord-site witness resume`.")
