"""`backup`: write the database and what is in the home into one sealed file, while `serve` runs."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.backup.backup import back_up, by_copy
from coordinator.commands.output import AsJson, home_of
from shared.counts import counted
from shared.terminal import print_json, print_line


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file, best on another machine's disk.", show_default=False)],
    recipient: Annotated[
        str, typer.Option("--to", metavar="RECIPIENT", help="An age recipient of your own, age1…; no curator's.")
    ],
    as_json: AsJson = False,
) -> None:
    """Write database, keys, settings, certificates and the log's last head into one file, sealed to a key of your own.

    `serve` may run, and receives on. The file exists whole or not at all. Sealed studies and the files of federated
    runs are not in it: copy the folders named below, too, or keep versions of the bucket. PostgreSQL is copied by
    pg_dump. Who has the private key of RECIPIENT can sign as this coordinator: keep it in a safe.
    """
    home = home_of(context)
    count, folders = back_up(home, file.absolute(), recipient), by_copy(home, home.settings())
    if as_json:
        print_json({"file": str(file), "files": count, "by_copy": folders})
        return
    print_line(f"{counted(count, 'file', 'is')} in {file}.")
    print_line(f"Not in it, and to be copied: {', '.join(folders)}.")
