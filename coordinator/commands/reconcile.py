"""`reconcile`: which received studies have no ciphertext here."""

import typer

from coordinator.backup.reconciling import without_ciphertext
from coordinator.commands.output import AsJson, home_of
from shared.counts import counted
from shared.errors.base import ExitCode
from shared.terminal import print_json, print_line


def reconcile(context: typer.Context, as_json: AsJson = False) -> None:
    """Name each received study whose ciphertext is not whole here, as after `restore`; it looks into the home itself.

    Exit code 3: there are some. Copy the sealed studies back. What no copy has, its site withdraws, lets come again
    (`ricord-site withdraw --allow`) and sends again.
    """
    rows = [{"id": row.id, "site_id": row.site_id, "study": row.study} for row in without_ciphertext(home_of(context))]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            print_line(f"Submission {row['id']} of site {row['site_id']}, study {row['study']}: no whole ciphertext.")
        print_line(f"{counted(len(rows), 'study', 'has')} no whole ciphertext here.")
    if rows:
        raise typer.Exit(ExitCode.PARTIAL)
