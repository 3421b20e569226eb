"""`clinical`: write an empty sheet, map another sheet's columns, check, import, and list what is unmatched."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from shared.counts import counted
from shared.durable import write_whole
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument
from shared.protocol.clinical import ClinicalDictionary
from shared.protocol.loader import load_protocol
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.clinical.annotated_copy import write_annotated
from site_node.clinical.cell_problem import CellProblem
from site_node.clinical.mapping import SheetMapping, load_mapping, mapping_text, propose
from site_node.clinical.sheet import type_table
from site_node.clinical.sheet_store import SheetStore
from site_node.clinical.table import read_table
from site_node.clinical.template import write_template
from site_node.commands.options import Json, Person, home_of, node_of
from site_node.node.clinical_sheets import SheetsAndStudies, match_sheets
from site_node.node.clinical_sheets import import_sheet as import_into_home
from site_node.node.waits import next_of_node
from site_node.sheets.table import Table

clinical = make_app("The clinical sheet: an empty one, a mapping for one that is not ours, the check, the import.")
_MAX_SHOWN = 50  # problems

SheetFile = Annotated[Path, typer.Argument(help="XLSX or CSV with a column of MRN, accession or study UID.")]
Encoding = Annotated[str, typer.Option(help="Of a text file: utf-8, utf-8-sig, cp1252 or utf-16.")]
Separator = Annotated[
    str | None, typer.Option(help="Of a text file: comma, semicolon, tab or pipe; detected from the text if left out.")
]
MappingFile = Annotated[Path | None, typer.Option(help="A mapping from `clinical map` that a person reviewed.")]
Protocol = Annotated[str | None, typer.Option(help="Whose clinical dictionary; the home's, or ricord without a home.")]


@clinical.command()
def template(
    file: Annotated[Path, typer.Argument(help="A new .xlsx file.")],
    protocol: Annotated[str, typer.Option(help="The protocol whose clinical dictionary is used.")] = "ricord",
) -> None:
    """Write an empty clinical sheet with every column, its codes as lists and a page that explains them.

    Example: `ricord-site clinical template clinical.xlsx`
    """
    _check_new(file)
    write_template(file, load_protocol(protocol).clinical)
    print_line(f"The empty sheet is {file}.")


@clinical.command(name="map")
def propose_mapping(
    context: typer.Context,
    sheet: SheetFile,
    *,
    out: Annotated[Path | None, typer.Option(help="A new file for the mapping; printed if left out.")] = None,
    encoding: Encoding = "utf-8",
    separator: Separator = None,
    protocol: Protocol = None,
) -> None:
    """Propose which column of a sheet that is not ours is which field, for a person to complete and sign.

    Only headings are shown, and no cell. Put your name in `reviewed_by`; `clinical import --mapping` then uses it.

    Example: `ricord-site clinical map theirs.xlsx --out mapping.toml`
    """
    dictionary = _dictionary(context, protocol)
    text = mapping_text(propose(read_table(sheet, encoding=encoding, separator=separator), dictionary), dictionary)
    if out is None:
        sys.stdout.write(text)
        return
    _check_new(out, suffix=".toml")
    write_whole(out, text.encode(), mode=0o600)
    print_line(f"The proposal is {out}; look at each column, then put your name in `reviewed_by`.")


@clinical.command()
def check(
    context: typer.Context,
    sheet: SheetFile,
    *,
    out: Annotated[Path | None, typer.Option(help="A new .xlsx: the sheet with its bad cells coloured.")] = None,
    mapping: MappingFile = None,
    encoding: Encoding = "utf-8",
    separator: Separator = None,
    protocol: Protocol = None,
    as_json: Json = False,
) -> None:
    """Read a sheet as `import` would and say what is wrong; nothing is kept.

    With --out every bad cell is coloured in a copy and a comment says why; the copy holds the sheet's patients.

    Exit code 3: something is wrong. Example: `ricord-site clinical check clinical.xlsx --out marked.xlsx`
    """
    if out is not None:
        _check_new(out)
    table = read_table(sheet, encoding=encoding, separator=separator)
    columns = load_mapping(mapping) if mapping else _remembered(context, table)
    read = type_table(table, _dictionary(context, protocol), columns)
    if out is not None:
        write_annotated(sheet, table, read.problems, out)
    if as_json:
        print_json({"rows": len(read.rows), "problems": [problem.model_dump() for problem in read.problems]})
    else:
        print_line(f"{counted(len(read.rows), 'row')} can be used." + (f" The marked copy is {out}." if out else ""))
        _show(read.problems)
    if read.problems:
        raise typer.Exit(ExitCode.PARTIAL)


@clinical.command(name="import")
def import_sheet(
    context: typer.Context,
    sheet: SheetFile,
    *,
    person: Person = "",
    mapping: MappingFile = None,
    encoding: Encoding = "utf-8",
    separator: Separator = None,
    as_json: Json = False,
) -> None:
    """Check a clinical sheet and keep a copy in the home; studies that waited for their row are screened again.

    The sheet never leaves the hospital: of a joined row, codes, numbers and shifted dates do. Cells that cannot be read
    are listed by row and column; the rest of the sheet is used. A mapping is remembered for these headings.

    Example: `ricord-site clinical import clinical.xlsx --as "A. Miller"`
    """
    table = read_table(sheet, encoding=encoding, separator=separator)
    columns = load_mapping(mapping) if mapping else None
    with node_of(context, writing=False) as node:
        imported = import_into_home(node, sheet, table, columns, actor=person)
        running = node.home.is_served()
    read, used, reopened = imported.sheet, imported.mapping, imported.reopened
    if as_json:
        problems = [problem.model_dump() for problem in read.problems]
        print_json({"rows": len(read.rows), "problems": problems, "reopened": reopened, "mapped": used is not None})
    else:
        following = f" Next: {next_of_node(running=running)}." if reopened else ""
        again = f"{counted(reopened, 'study', 'is')} screened again.{following}"
        print_line(f"{counted(len(read.rows), 'row')} can be used; {again}")
        if used:
            print_line(f"Columns are read by the mapping that {used.reviewed_by} reviewed.")
        _show(read.problems)
    if read.problems:
        raise typer.Exit(ExitCode.PARTIAL)


@clinical.command(name="unmatched")
def list_unmatched(
    context: typer.Context,
    show: Annotated[
        bool, typer.Option("--show", help="Also show the hospital's identifiers; on a terminal only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every row of the sheets without a study, and every study without a row, each with the reason.

    Rows are named by number, studies by the site's own key. With --show a person at the hospital sees whose they are.

    Exit code 3: something is without its partner. Example: `ricord-site clinical unmatched`
    """
    if show and (as_json or not sys.stdout.isatty()):
        raise InvalidArgument(name="--show", problem="identifiers are shown on a terminal only, and never as JSON")
    with node_of(context, writing=False) as node:
        matched = match_sheets(node)
    unmatched = matched.unmatched
    if as_json:
        print_json(unmatched)
    else:
        _show_unmatched(matched, show=show)
    if unmatched.rows or unmatched.studies:
        raise typer.Exit(ExitCode.PARTIAL)


def _show_unmatched(matched: SheetsAndStudies, *, show: bool) -> None:
    sheets, studies, unmatched = matched
    by_row = {(name[:12], row.row): row.keys for name, sheet in sheets for row in sheet.rows}
    by_key = {study.key: study.keys or {} for study in studies}
    whose = ["Whose"] if show else []
    if unmatched.rows:
        rows = [
            (row.sheet, row.row, row.code, *([_text_of(by_row.get((row.sheet, row.row), {}))] if show else []))
            for row in unmatched.rows
        ]
        print_table("Rows without a study", ["Sheet", "Row", "Reason", *whose], rows)
    if unmatched.studies:
        studies_without_row = [
            (study.study, study.code, *([_text_of(by_key[study.study])] if show else [])) for study in unmatched.studies
        ]
        print_table("Studies without a row", ["Study", "Reason", *whose], studies_without_row)
    print_line(
        f"Without a partner: {counted(len(unmatched.rows), 'row')} and {counted(len(unmatched.studies), 'study')}."
    )


def _text_of(keys: object) -> str:
    return ", ".join(f"{name} {value}" for name, value in keys.items()) if isinstance(keys, dict) else ""


def _dictionary(context: typer.Context, protocol: str | None) -> ClinicalDictionary:
    """The dictionary of the protocol named, else of the home, else of ricord."""
    if protocol is None and isinstance(context.obj, Path):
        protocol = home_of(context).load().protocol
    return load_protocol(protocol or "ricord").clinical


def _remembered(context: typer.Context, table: Table) -> SheetMapping | None:
    return SheetStore(home_of(context).clinical).mapping_for(table) if isinstance(context.obj, Path) else None


def _show(problems: Sequence[CellProblem]) -> None:
    if problems:
        rows = [(problem.row, problem.column or "", problem.code, problem.message) for problem in problems[:_MAX_SHOWN]]
        print_table("Problems", ["Row", "Column", "Code", "Meaning"], rows)
    if len(problems) > _MAX_SHOWN:
        print_line(f"{len(problems) - _MAX_SHOWN} more; `ricord-site clinical check --out COPY.xlsx` marks them all.")


def _check_new(file: Path, *, suffix: str = ".xlsx") -> None:
    if file.exists():
        raise InvalidArgument(name="The file", problem="it exists already and is not overwritten")
    if file.suffix.lower() != suffix or not file.absolute().parent.is_dir():
        raise InvalidArgument(name="The file", problem=f"give a name that ends in {suffix}, in a folder that exists")
