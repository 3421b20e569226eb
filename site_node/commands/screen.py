"""`screen`: the home's studies, or folders without a home, which are only read."""

import json
from pathlib import Path
from typing import Annotated

import typer

from shared.counts import counted
from shared.errors.base import ExitCode
from shared.protocol.loader import load_criteria, load_protocol
from shared.terminal import print_json, print_table
from site_node.clinical.mapping import load_mapping
from site_node.clinical.sheet import ClinicalSheet, read_sheet
from site_node.commands.advance import advance
from site_node.commands.clinical import Encoding, MappingFile, Separator
from site_node.commands.options import Json
from site_node.home.ledger import State
from site_node.reasons import explanation_of
from site_node.receive.folder import NO_IMAGE
from site_node.screen.report import Line
from site_node.standalone.screening import Screening
from site_node.study import Severity

_STOPPING = frozenset({Severity.REVIEW.value, Severity.REJECT.value})


def screen(
    context: typer.Context,
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders or archives to look at, without a home.")
    ] = None,
    *,
    clinical: Annotated[
        Path | None, typer.Option(help="A clinical sheet; without one its rules are not applied.")
    ] = None,
    criteria: Annotated[str, typer.Option(help="Name of shipped criteria, or a .toml file.")] = "ricord",
    mapping: MappingFile = None,
    encoding: Encoding = "utf-8",
    separator: Separator = None,
    as_json: Json = False,
) -> None:
    """Decide by the inclusion criteria which studies may go on, and say why the others may not.

    Without FOLDERS the studies received in the home are screened and moved on. With FOLDERS nothing is kept and nothing
    moves: JSON Lines with one object for each series and one for its study. Those lines hold the hospital's own UIDs;
    nothing leaves the hospital. Without a sheet COVID-19 status and linkage are `not_checked`. Files that belong to
    no study, and rows of the sheet that join none, are counted on standard error.

    Exit code 3: a study, series or file needs a person or is left out.

    Example: `ricord-site screen /archive/export --json --clinical clinical.xlsx`
    """
    if not folders:
        advance(context, State.INCLUDED, as_json=as_json)
        return
    rules = load_criteria(criteria)
    columns = load_mapping(mapping) if mapping else None
    sheet = None
    if clinical:
        sheet = read_sheet(clinical, load_protocol().clinical, mapping=columns, encoding=encoding, separator=separator)
    screening = Screening(rules, sheet)
    shown = [_shown(line, as_json=as_json) for folder in folders for line in screening.lines(folder)]
    if not as_json:
        rows = [(line["study"], line["series"] or "", line["outcome"], _codes(line)) for line in shown]
        print_table("Screened", ["Study", "Series", "Outcome", "Reasons"], rows)
    _show_unassigned(screening, sheet, as_json=as_json)
    if screening.files.keys() - NO_IMAGE or any(line["outcome"] in _STOPPING for line in shown):
        raise typer.Exit(ExitCode.PARTIAL)


def _show_unassigned(screening: Screening, sheet: ClinicalSheet | None, *, as_json: bool) -> None:
    """Write to standard error how many files belong to no study, and which rows of the sheet join none."""
    rows = screening.unmatched_rows()
    problems = len(sheet.problems) if sheet else 0
    files = dict(sorted(screening.files.items()))
    if as_json and (files or sheet):
        listed = [{"row": row.row, "code": row.code} for row in rows]
        note = {"files": files, "rows_without_study": listed, "sheet_problems": problems}
        typer.echo(json.dumps(note), err=True)
    elif not as_json:
        for code, count in files.items():
            typer.echo(f"{counted(count, 'file', 'is')} of no study ({code}): {explanation_of(code)}", err=True)
        if rows:
            numbers = ", ".join(f"{row.row} ({row.code})" for row in rows)
            typer.echo(f"Of the sheet, {counted(len(rows), 'row', 'joins')} no study here: {numbers}.", err=True)
        if problems:
            typer.echo(f"{counted(problems, 'problem')} in the sheet; see `ricord-site clinical check`.", err=True)


def _shown(line: Line, *, as_json: bool) -> Line:
    """The line, printed at once where JSON is asked for."""
    if as_json:
        print_json(line)
    return line


def _codes(line: Line) -> str:
    return ", ".join(dict.fromkeys(reason["code"] for reason in line["reasons"]))
