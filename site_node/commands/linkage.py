"""`key linkage`: export and import the table of patients and pseudonyms, and import an earlier program's index."""

from pathlib import Path
from typing import Annotated

import typer

from shared.counts import counted
from shared.errors.trust import NotEnrolled
from shared.terminal import make_app, print_json, print_line
from site_node.commands.options import Json, Person, node_of
from site_node.linkage import export
from site_node.linkage.anonymizer_index import import_index

linkage_app = make_app(
    """Export and import which patient has which pseudonym: sealed files that hold patient data.

    Example: `ricord-site key linkage export /media/safe/linkage.age --as "A. Miller"`
    """
)

Recipient = Annotated[list[str] | None, typer.Option("--recipient", help="Another age recipient to seal the file to.")]


@linkage_app.command(name="export")
def export_table(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A new file, in a safe place of the hospital.")],
    *,
    person: Person = "",
    recipient: Recipient = None,
    as_json: Json = False,
) -> None:
    """Write which patient has which pseudonym to a sealed file. It is PHI and stays in the hospital.

    The site's pseudonym secret opens it; losing the secret loses it, unless it is sealed to a --recipient too. It is
    an age file of JSON lines: the `age` command opens it for a recipient. Pseudonyms begin with enrolment.

    Example: `ricord-site key linkage export /media/safe/linkage.age --as "A. Miller"`
    """
    with node_of(context, writing=False) as node:
        known, unknown = export.export_linkage(
            node.ledger, node.stages.pseudonyms, file.absolute(), recipient or [], actor=person
        )
    if as_json:
        print_json({"patients": known, "unknown": unknown})
        return
    print_line(f"{counted(known, 'patient', 'is')} in {file}, sealed. It is PHI: keep it where originals may be.")
    if unknown:
        print_line(
            f"Of {counted(unknown, 'patient')} nothing is kept yet; it is once a study of theirs is processed again."
        )


@linkage_app.command(name="import")
def import_table(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `export` made.")],
    *,
    person: Person = "",
    as_json: Json = False,
) -> None:
    """Import what `export` wrote: known patients keep their numbers also in a new ledger.

    Nothing is imported if any line contradicts the ledger. The pseudonym secret must be the one it was exported with.

    Example: `ricord-site key linkage import /media/safe/linkage.age --as "A. Miller"`
    """
    with node_of(context, writing=False) as node:
        total, new = export.import_linkage(node.ledger, node.stages.names, file.absolute(), actor=person)
    if as_json:
        print_json({"patients": total, "new": new})
    else:
        print_line(f"{counted(total, 'patient', 'was')} read, {new} of them new to this ledger.")


@linkage_app.command(name="import-index")
def import_anonymizer_index(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The patient index that the RSNA Anonymizer exported: CSV or XLSX.")],
    *,
    person: Person = "",
    issuer: Annotated[str, typer.Option(help="IssuerOfPatientID as the hospital's images have it.")] = "",
    as_json: Json = False,
) -> None:
    """Import the patients that this site contributed with the RSNA Anonymizer, and their date shifts.

    The agreement must name the earlier SITEID. A known shift is kept; a patient without one is flagged: intervals to
    the earlier contribution are not kept. UIDs are never imported: that program made them without a key.

    Example: `ricord-site key linkage import-index 419639_RICORD_PHI_82_90_340.csv --as "A. Miller"`
    """
    with node_of(context, writing=False) as node:
        if node.membership is None:
            raise NotEnrolled(folder=str(node.home.folder))
        imported = import_index(
            node.ledger,
            node.stages.names,
            node.membership.terms,
            file.absolute(),
            issuer=issuer,
            actor=person,
        )
    flagged = imported.patients - imported.shift_kept
    if as_json:
        print_json(
            {
                "patients": imported.patients,
                "shift_kept": imported.shift_kept,
                "flagged": flagged,
                "nobody": imported.nobody,
            }
        )
        return
    print_line(
        f"{counted(imported.patients, 'patient', 'was')} taken over; the shift of {imported.shift_kept} is kept."
    )
    if flagged:
        print_line(f"{flagged} are flagged: intervals to the earlier contribution not kept.")
    if imported.nobody:
        print_line(f"{counted(imported.nobody, 'line')} left out: no patient is named there.")
