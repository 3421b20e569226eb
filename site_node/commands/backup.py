"""`backup`: write what no other copy holds into one sealed file, while the node runs."""

from pathlib import Path
from typing import Annotated

import typer

from shared.counts import counted
from shared.terminal import print_json, print_line
from site_node.backup.backup import BY_COPY, back_up
from site_node.commands.options import Json, home_of


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file, best on another machine's disk.", show_default=False)],
    recipient: Annotated[
        str,
        typer.Option("--to", metavar="RECIPIENT", help="The hospital's own age recipient, age1…; not the curator's."),
    ],
    as_json: Json = False,
) -> None:
    """Write ledger, keys, settings, identity, receipts and clinical sheets into one file, sealed to a key of your own.

    The node may run. The file exists whole or not at all. Images are not in it: copy the folders named below, too. Who
    has the private key of RECIPIENT can trace every pseudonym: keep it in a safe, not in this home. Nothing is sent.

    Example: `ricord-site backup /mnt/backup/ricord-2026-12-01.age --to age1…`
    """
    home = home_of(context)
    count = back_up(home, file.absolute(), recipient)
    if as_json:
        print_json({"file": str(file), "files": count, "by_copy": sorted(BY_COPY)})
        return
    print_line(f"{counted(count, 'file', 'is')} in {file}.")
    print_line(f"Not in it, and to be copied: {', '.join(sorted(BY_COPY))}.")
