"""A mapping: which column of a sheet that is not ours is which field, in what unit, order of dates and spellings.

`propose` guesses one from the dictionary's own names; a person completes it and signs it with a name; only then is it
used, and only for sheets with the very headings it was made for.
"""

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic import Field as Setting
from pydantic import ValidationError

from shared.errors.inputs import ClinicalSheetInvalid, SourceMissing
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.protocol.clinical import ClinicalDictionary, Field
from site_node.clinical.cell_problem import index_of, letter_of
from site_node.clinical.cells import Column, DateOrder, is_ordered, text_of
from site_node.clinical.headings import Headings, heading_rows, known_field, names_of, plain
from site_node.clinical.units import convertible, unit_named
from site_node.sheets.table import Cell, Row, Table

_NOT_READ = ""
_SAMPLED_ROWS = 200  # of data, searched for dates that need an order


class ColumnRule(Frozen):
    """How one column is read; a `field` of "" is not read. The heading is for the person who reviews."""

    column: str = Setting(pattern=r"^[A-Z]{1,3}$")
    heading: str = Setting(default="", repr=False)
    field: str = _NOT_READ
    unit: str | None = None
    dates: DateOrder | None = None  # `None`: as the mapping says
    codes: dict[str, str] = Setting(default_factory=dict, repr=False)  # the sheet's spelling -> the dictionary's code
    note: str = Setting(default="", exclude=True)  # why the proposal says so; a comment of the file


class SheetMapping(Frozen):
    """A mapping for every sheet whose headings have this digest."""

    headings: Sha256
    reviewed_by: str = ""
    dates: DateOrder = "iso"
    columns: tuple[ColumnRule, ...] = Setting(min_length=1)


def headings_digest(row: Row) -> Sha256:
    """The digest that a mapping knows a row of headings by: their texts, in order."""
    texts = [text_of(cell) for cell in row]
    while texts and not texts[-1]:
        texts.pop()
    return Sha256(hashlib.sha256(json.dumps(texts).encode()).hexdigest())


def possible_digests(table: Table) -> tuple[Sha256, ...]:
    """The digests of the rows that headings may stand in, the uppermost first."""
    return tuple(headings_digest(row) for row in heading_rows(table) if any(text_of(cell) for cell in row))


def apply_mapping(table: Table, dictionary: ClinicalDictionary, mapping: SheetMapping) -> Headings:
    """The columns that a mapping names. Raises `ClinicalSheetInvalid` where it does not fit sheet or dictionary."""
    at = next((at for at, row in enumerate(heading_rows(table)) if headings_digest(row) == mapping.headings), None)
    if at is None:
        raise ClinicalSheetInvalid(problem="the mapping was made for other headings; make one with `clinical map`")
    check_mapping(mapping, dictionary)
    fields = {field.name: field for field in dictionary.fields}
    columns = {
        index_of(rule.column): Column(
            fields[rule.field],
            rule.heading,
            dates=rule.dates or mapping.dates,
            unit=unit_named(rule.unit) if rule.unit else None,
            converted=True,
            codes=MappingProxyType(rule.codes),
        )
        for rule in mapping.columns
        if rule.field
    }
    return Headings(at, columns)


def check_mapping(mapping: SheetMapping, dictionary: ClinicalDictionary) -> None:
    """Raise `ClinicalSheetInvalid` unless a person reviewed the mapping and the dictionary has what it names."""
    if not mapping.reviewed_by.strip():
        raise _invalid("nobody reviewed it; look at each column and put your name in `reviewed_by`")
    fields = {field.name: field for field in dictionary.fields}
    read = [rule for rule in mapping.columns if rule.field]
    for what in ("column", "field"):
        counts = Counter(getattr(rule, what) for rule in read)
        if doubled := [name for name, count in counts.items() if count > 1]:
            raise _invalid(f"{what} {doubled[0]} stands twice")
    for rule in read:
        if rule.field not in fields:
            raise _invalid(f"column {rule.column}: the dictionary has no such field")
        _check_rule(rule, fields[rule.field])
    if not any(fields[rule.field].kind == "key" for rule in read):
        raise _invalid("no column is mrn, accession or study_uid")


def _check_rule(rule: ColumnRule, field: Field) -> None:
    if not set(rule.codes.values()) <= {code.value for code in field.codes}:
        raise _invalid(f"column {rule.column}: a code is none of the field {field.name}")
    if rule.unit and not ((unit := unit_named(rule.unit)) and convertible(unit, field.unit)):
        raise _invalid(f"column {rule.column}: its unit cannot be turned into that of the field {field.name}")


def load_mapping(file: Path) -> SheetMapping:
    """Read a mapping that a person wrote; raises `SourceMissing` or `ClinicalSheetInvalid`."""
    if not file.is_file():
        raise SourceMissing(source="the mapping")
    try:
        return SheetMapping.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid("it is no TOML") from error
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise _invalid(f"`{key}` is not what it should be") from None


def propose(table: Table, dictionary: ClinicalDictionary) -> SheetMapping:
    """A mapping for a person to complete: columns whose headings the dictionary knows, then those it may mean."""
    rows, names = heading_rows(table), names_of(dictionary)
    at = max(range(len(rows)), key=lambda index: (sum(_guess(cell, names) is not None for cell in rows[index]), -index))
    if not any(_guess(cell, names) for cell in rows[at]):
        at = max(range(len(rows)), key=lambda index: (sum(isinstance(c, str) and c != "" for c in rows[index]), -index))
    used: set[str] = set()
    rules: list[ColumnRule] = []
    for index, cell in enumerate(rows[at]):
        if not text_of(cell):
            continue
        rules.append(_propose_column(index, text_of(cell), names, used, text_dates=_has_text_dates(table, at, index)))
        used.add(rules[-1].field)
    return SheetMapping(headings=headings_digest(rows[at]), columns=tuple(rules))


def _propose_column(
    index: int, heading: str, names: Mapping[str, Field], used: set[str], *, text_dates: bool
) -> ColumnRule:
    letter = letter_of(index)
    guess = _guess(heading, names)
    if guess is None or guess[0].name in used:
        note = "which field? leave empty if none" if guess is None else "another column is proposed for this field"
        return ColumnRule(column=letter, heading=heading, note=note)
    field, unit, sure = guess
    notes = [] if sure else ["a guess from a part of the heading; look at the column"]
    if field.kind == "date" and text_dates:
        notes.append('dates here are text: say whether dates = "dmy" or "mdy"')
    if unit and unit != field.unit:
        notes.append(f"the dictionary wants {field.unit}")
    return ColumnRule(column=letter, heading=heading, field=field.name, unit=unit, note="; ".join(notes))


def _has_text_dates(table: Table, at: int, index: int) -> bool:
    """Whether the column, below its heading, holds dates as text that need an order."""
    cells = (row[index] for row in table.rows[at + 1 : at + 1 + _SAMPLED_ROWS] if index < len(row))
    return any(isinstance(cell, str) and is_ordered(text_of(cell)) for cell in cells)


def _guess(cell: Cell, names: Mapping[str, Field]) -> tuple[Field, str | None, bool] | None:
    """The field that a heading names, or may mean as it holds all words of one of its names; its unit; whether sure."""
    if known := known_field(cell, names):
        return (*known, True)
    words = set(plain(text_of(cell)).split())
    likely = [
        (len(name.split()), len(name), field) for name, field in names.items() if name and set(name.split()) <= words
    ]
    if not likely:
        return None
    return max(likely, key=lambda candidate: candidate[:2])[2], None, False


def mapping_text(mapping: SheetMapping, dictionary: ClinicalDictionary) -> str:
    """The mapping as TOML that explains itself to the person who reviews it."""
    return "\n".join(_lines(mapping, dictionary)) + "\n"


def _lines(mapping: SheetMapping, dictionary: ClinicalDictionary) -> Iterator[str]:
    yield "# Which column of the sheet is which field. Look at each, mend it, and put your name in `reviewed_by`;"
    yield "# `ricord-site clinical import SHEET --mapping THIS` then uses it, and remembers it for these headings."
    yield f"# Fields: {', '.join(field.name for field in dictionary.fields)}."
    yield '# Per column also: unit = "mg/dL", dates = "dmy", codes = { "their spelling" = "our code" }.'
    yield f"headings = {_quoted(mapping.headings)}  # digest of the heading row; do not change"
    yield f"reviewed_by = {_quoted(mapping.reviewed_by)}"
    yield f'dates = {_quoted(mapping.dates)}  # of text dates: "iso" takes YYYY-MM-DD only; else "dmy" or "mdy"'
    for rule in mapping.columns:
        yield ""
        yield "[[columns]]" + (f"  # {rule.note}" if rule.note else "")
        yield f"column = {_quoted(rule.column)}"
        yield f"heading = {_quoted(rule.heading)}"
        yield f"field = {_quoted(rule.field)}"
        if rule.unit:
            yield f"unit = {_quoted(rule.unit)}"
        if rule.dates:
            yield f"dates = {_quoted(rule.dates)}"
        if rule.codes:
            pairs = ", ".join(f"{_quoted(theirs)} = {_quoted(ours)}" for theirs, ours in sorted(rule.codes.items()))
            yield f"codes = {{ {pairs} }}"


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, except for DEL; lone surrogates are replaced."""
    return json.dumps(re.sub(r"[\ud800-\udfff]", "\ufffd", text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _invalid(problem: str) -> ClinicalSheetInvalid:
    return ClinicalSheetInvalid(problem=f"the mapping: {problem}")
