"""Clinical: the sheets in use, a new one with its problems and its mapping to confirm, and what has no partner."""

import re
from collections import Counter
from pathlib import Path

from pydantic import ValidationError

from shared.errors.inputs import ClinicalSheetInvalid, InvalidArgument, NotFound
from shared.protocol.clinical import ClinicalDictionary
from shared.web.console import Page
from shared.web.visit import Answer, Form, Redirect, Shown, Visit
from site_node.clinical.mapping import ColumnRule, SheetMapping, propose
from site_node.clinical.sheet import ClinicalSheet, type_table
from site_node.clinical.sheet_store import SheetStore
from site_node.clinical.table import ENCODINGS, read_table
from site_node.console.uploads import uploaded
from site_node.home.folder import SiteHome
from site_node.node.clinical_sheets import import_sheet, match_sheets
from site_node.node.open import Node, open_node
from site_node.sheets.table import SEPARATORS, Table

_ON_A_PAGE = 200  # problems
_MOST_UNMATCHED = 500
_NAME = re.compile(r"[0-9a-f]{32}")
_CODE = re.compile(r"(?P<theirs>.*\S)\s*=\s*(?P<ours>\S+)")


class ClinicalPages:
    """The sheets, one of them, and what is done with it."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/clinical", self._sheets),
            Page("POST", "/clinical", self._upload),
            Page("GET", "/clinical/unmatched", self._unmatched),
            Page("GET", "/clinical/{sheet}", self._sheet),
            Page("POST", "/clinical/{sheet}/import", self._import),
            Page("POST", "/clinical/{sheet}/discard", self._discard),
        )

    def _sheets(self, visit: Visit) -> Answer:
        del visit
        with open_node(self._home, writing=False) as node:
            store, used = SheetStore(node.home.clinical), node.ledger.sheets.all()
            files = store.files(used)
            sheets = [(_name(file), store.read(file, node.protocol.clinical)) for file in files]
        rows = [(name, len(sheet.rows), len(sheet.problems)) for name, sheet in sheets]
        return Shown("clinical.html", {"sheets": rows, "encodings": ENCODINGS, "separators": list(SEPARATORS)})

    def _upload(self, visit: Visit) -> Answer:
        separator = visit.form.optional("separator") or None
        with uploaded(self._home, visit.form.upload()) as file:
            table = read_table(file, encoding=visit.form.optional("encoding") or "utf-8", separator=separator)
            kept = SheetStore(self._home.clinical).keep(file, table)
        return Redirect(f"/clinical/{_name(kept)}")

    def _sheet(self, visit: Visit) -> Answer:
        page = visit.page_number
        with open_node(self._home, writing=False) as node:
            file = self._file(visit)
            table, dictionary = read_table(file), node.protocol.clinical
            mapping = SheetStore(node.home.clinical).mapping_for(table)
            sheet, problem = _typed(table, dictionary, mapping)
            is_used = any(file.name.startswith(name) for name in node.ledger.sheets.all())
        problems = sheet.problems if sheet else ()
        first = (page - 1) * _ON_A_PAGE
        values = {
            "name": _name(file),
            "rows": len(sheet.rows) if sheet else 0,
            "problem": problem,
            "problems": problems[first : first + _ON_A_PAGE],
            "total": len(problems),
            "kinds": Counter((each.column or "", each.code, each.message) for each in problems).most_common(),
            "mapping": mapping or propose(table, dictionary),
            "fields": [field.name for field in dictionary.fields],
            "is_used": is_used,
            "page": page,
            "pages": max(1, -(-len(problems) // _ON_A_PAGE)),
        }
        return Shown("clinical_sheet.html", values)

    def _import(self, visit: Visit) -> Answer:
        file = self._file(visit)
        table = read_table(file)
        with open_node(self._home, writing=False) as node:
            mapping = self._mapping(visit, table, node) if visit.form.optional("mapped") else None
            import_sheet(node, file, table, mapping, actor=visit.person.name)
        return Redirect("/clinical", "imported")

    def _mapping(self, visit: Visit, table: Table, node: Node) -> SheetMapping:
        """The mapping that was confirmed, reviewed by who is signed in."""
        proposed = SheetStore(node.home.clinical).mapping_for(table) or propose(table, node.protocol.clinical)
        columns = tuple(_rule(rule, visit.form) for rule in proposed.columns)
        try:
            return SheetMapping(headings=proposed.headings, reviewed_by=visit.person.name, columns=columns)
        except ValidationError:
            raise InvalidArgument(name="The mapping", problem="open the page anew") from None

    def _discard(self, visit: Visit) -> Answer:
        file = self._file(visit)
        with open_node(self._home, writing=False) as node, node.ledger.changing():
            if any(file.name.startswith(name) for name in node.ledger.sheets.all()):
                raise InvalidArgument(name="The sheet", problem="it is used, and studies may have been joined with it")
            file.unlink(missing_ok=True)
        return Redirect("/clinical", "discarded")

    def _unmatched(self, visit: Visit) -> Answer:
        del visit
        with open_node(self._home, writing=False) as node:
            unmatched = match_sheets(node).unmatched
        values = {"rows": unmatched.rows[:_MOST_UNMATCHED], "studies": unmatched.studies[:_MOST_UNMATCHED]}
        return Shown("clinical_unmatched.html", {**values, "unmatched": unmatched})

    def _file(self, visit: Visit) -> Path:
        """The kept sheet of the path; raises `NotFound`."""
        files = SheetStore(self._home.clinical).files([visit.values["sheet"]])
        if not _NAME.fullmatch(visit.values["sheet"]) or not files:
            raise NotFound(kind="sheet", name="of that name; it may have been discarded")
        return files[0]


def _name(file: Path) -> str:
    return file.name.partition(".")[0]


def _typed(
    table: Table, dictionary: ClinicalDictionary, mapping: SheetMapping | None
) -> tuple[ClinicalSheet | None, str]:
    """The sheet as it would be used, or why it cannot be read so."""
    try:
        return type_table(table, dictionary, mapping), ""
    except ClinicalSheetInvalid as error:
        return None, error.public


def _rule(rule: ColumnRule, form: Form) -> ColumnRule:
    """A column as the form says it is read; raises `InvalidArgument`."""
    letter, codes = rule.column, {}
    for line in form.optional(f"codes-{letter}").splitlines():
        match = _CODE.fullmatch(line.strip())
        if match is None:
            problem = f"in column {letter} write a spelling, an equals sign and the code"
            raise InvalidArgument(name="The mapping", problem=problem)
        codes[match["theirs"]] = match["ours"]
    try:
        return ColumnRule.model_validate(
            {
                "column": letter,
                "heading": rule.heading,
                "field": form.optional(f"field-{letter}"),
                "unit": form.optional(f"unit-{letter}") or None,
                "dates": form.optional(f"dates-{letter}") or None,
                "codes": codes,
            }
        )
    except ValidationError:
        raise InvalidArgument(name="The mapping", problem=f"column {letter} is not what it should be") from None
