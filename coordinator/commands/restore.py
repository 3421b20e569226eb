"""`restore`: make a home and its database again from the file that `backup` wrote."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.backup.restore import restore as restore_home
from coordinator.commands.output import AsJson, home_of
from shared.counts import counted
from shared.terminal import print_json, print_line


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.", show_default=False)],
    identity: Annotated[Path, typer.Option("--identity", metavar="KEYFILE", help="The private key it is sealed to.")],
    as_json: AsJson = False,
) -> None:
    """Restore a home into an empty folder; a PostgreSQL that its settings name must be empty, too.

    The whole audit log is checked, and gets an event that names its last head. Sites that hold a later head or receipt
    send nothing until a person of each says `ricord-site witness resume`.
    """
    home = home_of(context)
    facts, log = restore_home(home, file.absolute(), identity.absolute())
    if as_json:
        print_json({**facts.model_dump(mode="json"), "entries": log.events, "root": log.root})
        return
    print_line(f"Federation {facts.name}, {facts.fingerprint}, is as it was on {facts.made_at:%Y-%m-%d %H:%M} UTC.")
    print_line(f"Its log of {counted(log.events, 'entry')} is in place, and says that it was restored.")
    print_line("Next: copy sealed studies and `federation/` back, then `serve`, and tell every site.")
