"""`screen`: the home's studies, or a folder alone, which is only looked at."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import ExitCode
from shared.protocol.criteria import Criteria
from shared.protocol.loader import load_criteria, load_protocol
from shared.terminal import print_json, print_table
from site_node.clinical.mapping import load_mapping
from site_node.clinical.matching import KnownStudy, unmatched
from site_node.clinical.sheet import ClinicalSheet, read_sheet
from site_node.commands.advance import advance
from site_node.commands.clinical import Encoding, MappingFile, Separator
from site_node.home.ledger import State
from site_node.node.composition import keys_of, row_for
from site_node.node.open import Json
from site_node.receive.reading import MESSAGES, RefusedFile
from site_node.receive.source import candidates
from site_node.screen.decide import assess
from site_node.screen.report import Line, Stray, stray_lines, stray_of, study_lines
from site_node.standalone.screening import received
from site_node.study import Severity

_STOPPED = frozenset({Severity.REVIEW.value, Severity.REJECT.value})
_NO_IMAGE = frozenset({"not-dicom", "dicomdir"})  # what lies in an export beside its images, and decides nothing


def screen(
    context: typer.Context,
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders or archives to look at, without a home.")
    ] = None,
    *,
    clinical: Annotated[
        Path | None, typer.Option(help="A clinical sheet; without one its rules are not asked.")
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
    nothing leaves the hospital. Without a sheet COVID-19 status and linkage are `not_checked`. Files that are of no
    study, and rows of the sheet that join none, are counted on standard error.

    Exit code 3: a study, series or file needs a person or is left out.

    Example: `ricord-site screen /archive/export --json --clinical clinical.xlsx`
    """
    if not folders:
        advance(context, State.INCLUDED, as_json=as_json)
        return
    rules = load_criteria(criteria)
    given = load_mapping(mapping) if mapping else None
    sheet = None
    if clinical:
        sheet = read_sheet(clinical, load_protocol().clinical, mapping=given, encoding=encoding, separator=separator)
    screening = Screening(rules, sheet)
    shown = [_shown(line, as_json=as_json) for folder in folders for line in screening.lines(folder)]
    if not as_json:
        rows = [(line["study"], line["series"] or "", line["outcome"], _codes(line)) for line in shown]
        print_table("Screened", ["Study", "Series", "Outcome", "Reasons"], rows)
    screening.tell(as_json=as_json)
    if screening.files.keys() - _NO_IMAGE or any(line["outcome"] in _STOPPED for line in shown):
        raise typer.Exit(ExitCode.PARTIAL)


class Screening:
    """Looks at folders, one after the other, and counts what is of no study."""

    def __init__(self, criteria: Criteria, sheet: ClinicalSheet | None) -> None:
        self._criteria = criteria
        self._sheet = sheet
        self._studies: list[KnownStudy] = []
        self.files: Counter[str] = Counter()

    def lines(self, folder: Path) -> Iterator[Line]:
        """The objects of one folder; raises what receiving it raises."""
        with received(folder) as reception:
            strays = self._strays(folder, reception.refused)
            for study in reception.studies:
                row = row_for(study, [self._sheet]) if self._sheet else None
                if self._sheet:
                    self._studies.append(KnownStudy(study.key, keys_of(study)))
                checked = self._sheet is not None
                found = assess(study, criteria=self._criteria, clinical=row, clinical_checked=checked)
                own = strays.pop(study.study_instance_uid, [])
                yield from study_lines(
                    found, self._criteria, checked=checked, held=reception.held.get(study.key), strays=own
                )
            for uid, own in sorted(strays.items()):
                yield from stray_lines(uid, self._criteria, own, checked=self._sheet is not None)

    def tell(self, *, as_json: bool) -> None:
        """Say on standard error how many files are of no study, and which rows of the sheet join none."""
        rows = unmatched([("", self._sheet)], self._studies).rows if self._sheet else ()
        problems = len(self._sheet.problems) if self._sheet else 0
        if as_json and (self.files or self._sheet):
            lone = [{"row": one.row, "code": one.code} for one in rows]
            note = {"files": dict(sorted(self.files.items())), "rows_without_study": lone, "sheet_problems": problems}
            typer.echo(json.dumps(note), err=True)
        elif not as_json:
            for code, count in sorted(self.files.items()):
                typer.echo(f"{count} files are of no study: {MESSAGES[code]} ({code}).", err=True)
            if rows:
                numbers = ", ".join(f"{one.row} ({one.code})" for one in rows)
                typer.echo(f"{len(rows)} rows of the sheet join no study here: {numbers}.", err=True)
            if problems:
                typer.echo(f"{problems} problems in the sheet; see `ricord-site clinical check`.", err=True)

    def _strays(self, folder: Path, refused: Sequence[RefusedFile]) -> dict[str, list[Stray]]:
        """Refused files by the study that they say they are of; those that say none are counted."""
        reasons = {one.source: one.reason for one in refused}
        found: defaultdict[str, list[Stray]] = defaultdict(list)
        for candidate in candidates(folder) if reasons else ():
            reason = reasons.pop(candidate.name, None)
            stray = None
            if reason and reason.code not in _NO_IMAGE and candidate.open:
                with suppress(Exception), candidate.open() as stream:
                    stray = stray_of(stream, reason)
            if stray:
                found[stray.study].append(stray)
            elif reason:
                self.files[reason.code] += 1
        self.files.update(reason.code for reason in reasons.values())
        return found


def _shown(line: Line, *, as_json: bool) -> Line:
    """The object, printed as soon as it is known where a script reads."""
    if as_json:
        print_json(line)
    return line


def _codes(line: Line) -> str:
    return ", ".join(dict.fromkeys(reason["code"] for reason in line["reasons"]))
