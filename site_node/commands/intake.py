"""`receive` and `clinical`: what comes into the home."""

import hashlib
import os
from pathlib import Path
from typing import Annotated

import typer

from shared.durable import write_whole
from shared.errors import ExitCode, InvalidArgument
from shared.protocol.loader import load_protocol
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.clinical.sheet import read_sheet
from site_node.clinical.template import write_template
from site_node.commands.node import Json, Node, open_node
from site_node.intake import Intake, take
from site_node.ledger import State
from site_node.receive.folder import receive_folder
from site_node.receive.reading import MESSAGES

clinical_app = make_app("The clinical sheet: an empty one to fill in, and a filled one to import.")
_CLINICAL = ("clinical-", "covid-", "age-")  # codes that another sheet may settle


def receive(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A folder, a zip archive, a DICOMDIR or one file.")],
    as_json: Json = False,
) -> None:
    """Copy the DICOM files of a source into the home, as studies; nothing leaves the hospital.

    The source is only read. What is no DICOM, cut off or contradictory is refused by name and listed in
    quarantine/files.jsonl. Receiving the same source again changes nothing.

    Example: `ricord-site receive /archive/export-2024`
    """
    with open_node(context) as node:
        intake = receive_source(node, source)
        held = len(node.ledger.studies(State.QUARANTINED))
    if as_json:
        print_json(intake)
    else:
        print_line(
            f"{intake.studies} studies with {intake.instances} new images; {intake.duplicates} were there before."
        )
        for code, count in sorted(intake.files.items()):
            print_line(f"{count} files not taken: {MESSAGES[code]} ({code}).")
        if intake.late:
            print_line(f"{intake.late} images came after their study had left; see `ricord-site status`.")
        if held:
            print_line(f"{held} studies wait for a person; see `ricord-site review list`.")
    if intake.files or intake.late:
        raise typer.Exit(ExitCode.PARTIAL)


def receive_source(node: Node, source: Path) -> Intake:
    """Receive one source into an open home."""
    reception = receive_folder(source, node.home.spool, node.workshop.pseudonyms)
    return take(reception, home=node.home, ledger=node.ledger)


@clinical_app.command()
def template(
    file: Annotated[Path, typer.Argument(help="A new .xlsx file.")],
    protocol: Annotated[str, typer.Option(help="The protocol whose clinical dictionary is used.")] = "ricord",
) -> None:
    """Write an empty clinical sheet with every column, its codes as lists and a page that explains them.

    Example: `ricord-site clinical template clinical.xlsx`
    """
    if file.exists():
        raise InvalidArgument(name="The file", problem="it exists already and is not overwritten")
    if file.suffix.lower() != ".xlsx" or not file.absolute().parent.is_dir():
        raise InvalidArgument(name="The file", problem="give a name that ends in .xlsx, in a folder that exists")
    write_template(file, load_protocol(protocol).clinical)
    print_line(f"The empty sheet is {file}.")


@clinical_app.command(name="import")
def import_sheet(
    context: typer.Context,
    sheet: Annotated[Path, typer.Argument(help="XLSX, XLS, ODS or CSV with a column of MRN, accession or study UID.")],
    as_json: Json = False,
) -> None:
    """Check a clinical sheet and keep a copy in the home; studies that waited for their row are screened again.

    The sheet never leaves the hospital: of a joined row, codes, numbers and shifted dates do. Cells that cannot be read
    are listed by row and column; the rest of the sheet is used.

    Example: `ricord-site clinical import clinical.xlsx`
    """
    with open_node(context) as node:
        read = read_sheet(sheet, node.workshop.protocol.clinical)
        _keep(node, sheet)
        waiting = [one for one in node.ledger.studies(State.QUARANTINED) if one.lead.startswith(_CLINICAL)]
        for entry in waiting:
            node.ledger.reopen(entry.key, ())
    if as_json:
        print_json(
            {"rows": len(read.rows), "problems": [one.model_dump() for one in read.problems], "reopened": len(waiting)}
        )
    else:
        print_line(f"{len(read.rows)} rows can be used; {len(waiting)} studies are screened again at the next run.")
        if read.problems:
            rows = [(one.row, one.column or "", one.code, one.message) for one in read.problems]
            print_table("Problems", ["Row", "Column", "Code", "Meaning"], rows)
    if read.problems:
        raise typer.Exit(ExitCode.PARTIAL)


def _keep(node: Node, sheet: Path) -> None:
    """Keep the sheet under its digest, newest by time; PHI, so readable by its owner only."""
    content = sheet.read_bytes()
    target = node.home.clinical / f"{hashlib.sha256(content).hexdigest()[:32]}{sheet.suffix.lower()}"
    write_whole(target, content, mode=0o600)
    os.utime(target)
