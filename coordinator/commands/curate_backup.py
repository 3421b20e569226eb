"""`curate backup` and `curate restore`: a curator's home in one sealed file, and out of it."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.commands.home_folder import folder_of
from coordinator.commands.output import AsJson
from coordinator.curation.backup import back_up
from coordinator.curation.backup import restore as restore_home
from coordinator.curation.membership import CuratorHome
from shared.counts import counted
from shared.terminal import print_json, print_line


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file, best on another machine's disk.", show_default=False)],
    recipient: Annotated[
        str, typer.Option("--to", metavar="RECIPIENT", help="An age recipient of your own, age1…; not this curator's.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write register, keys, identity, settings, purges and readers into one file, sealed to a key of your own.

    The curator may go on meanwhile. Opened studies are not in it: copy the folder named below, or open them again.
    Who has the private key of RECIPIENT can open every study that was sealed to this curator: keep it in a safe.
    """
    home = CuratorHome(folder_of(context))
    count = back_up(home, file.absolute(), recipient)
    if as_json:
        print_json({"file": str(file), "files": count, "by_copy": [str(home.opened)]})
        return
    print_line(f"{counted(count, 'file', 'is')} in {file}.")
    print_line(f"Not in it, and to be copied: {home.opened}.")


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `curate backup` wrote.", show_default=False)],
    identity: Annotated[Path, typer.Option("--identity", metavar="KEYFILE", help="The private key it is sealed to.")],
    as_json: AsJson = False,
) -> None:
    """Restore a curator's home into an empty folder; the register's log is checked whole."""
    facts = restore_home(CuratorHome(folder_of(context)), file.absolute(), identity.absolute())
    if as_json:
        print_json(facts.model_dump(mode="json"))
        return
    print_line(f"Curator of {facts.name}, {facts.fingerprint}, as on {facts.made_at:%Y-%m-%d %H:%M} UTC.")
    print_line("Next: copy `opened/` back, or `curate open --all`, which opens what is missing.")
