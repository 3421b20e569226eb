"""Where a workbook holds formulas. No formula is evaluated, and no stored result is trusted.

calamine gives stored values only, so the XLSX sheet's own XML is searched (ECMA-376 part 1, 18.3.1.4 and 18.3.1.40). A
formula that is one literal (`="007"`, which keeps a leading zero) is that literal.
"""

import html
import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from shared.errors import ClinicalSheetInvalid

Place = tuple[int, int]  # row and column from 0
_UNPACKED = 2 << 30  # bytes; no clinical sheet unpacks to more
_SHEET = re.compile(rb"<(?:\w+:)?sheet\b([^>]*)>")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\b([^>]*)>")
_FORMULA = re.compile(rb"<(?:\w+:)?f(?=[\s/>])")
_CELL = re.compile(
    rb"<(?:\w+:)?c\b(?P<cell>[^>]*)>\s*<(?:\w+:)?f(?P<formula>(?:\s[^>]*)?)(?:/>|>(?P<text>[^<]*)</(?:\w+:)?f>)"
)
_LITERAL = re.compile(r'"(?P<text>[^"]*)"|(?P<number>[+-]?\d+(?:\.\d+)?)')


def check_size(archive: zipfile.ZipFile) -> None:
    """Raise `ClinicalSheetInvalid` for an archive that unpacks to more than any sheet."""
    if sum(member.file_size for member in archive.infolist()) > _UNPACKED:
        raise ClinicalSheetInvalid(problem="it unpacks to more than a clinical sheet can hold")


def xlsx_formulas(archive: zipfile.ZipFile, index: int) -> tuple[frozenset[Place], dict[Place, str]]:
    """Cells of sheet number `index` that are formulas, and the value of those that are one literal.

    Raises `ClinicalSheetInvalid` where there are formulas that cannot be located.
    """
    content = archive.read(_member(archive, index))
    total = len(_FORMULA.findall(content))
    formulas: set[Place] = set()
    literals: dict[Place, str] = {}
    located = 0
    for match in _CELL.finditer(content) if total else ():
        located += 1
        where = _attribute(match["cell"], b"r")
        literal = literal_of(html.unescape((match["text"] or b"").decode("utf-8", "replace")))
        if literal is not None and where:
            literals[_place(where)] = literal
        else:
            formulas.update(_cells(_attribute(match["formula"], b"ref") or where))
    if located != total or len(formulas) + len(literals) < bool(total):
        raise ClinicalSheetInvalid(problem="it holds formulas that cannot be located; save it with values only")
    return frozenset(formulas), literals


def literal_of(formula: str) -> str | None:
    """The value of a formula (without its `=`) that is one text or number in full; `None` for any other."""
    literal = _LITERAL.fullmatch(formula.strip())
    if not literal:
        return None
    return literal["number"] if literal["text"] is None else literal["text"]


def refuse_unlocatable(archive: zipfile.ZipFile) -> None:
    """Raise `ClinicalSheetInvalid` for an ODS sheet with formulas, merged cells or a password.

    ODS counts repeated rows and columns instead of numbering its cells, and calamine reports neither.
    """
    names = set(archive.namelist())
    if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise ClinicalSheetInvalid(problem="it is protected by a password; save it without one")
    content = archive.read("content.xml") if "content.xml" in names else b""
    if re.search(rb'\stable:(?:formula="|number-(?:columns|rows)-spanned="(?!1"))', content):
        raise ClinicalSheetInvalid(problem="an ODS sheet must not hold formulas or merged cells; save it as XLSX")


def _member(archive: zipfile.ZipFile, index: int) -> str:
    """The archive's name of sheet number `index`, as the workbook and its relationships say."""
    sheets = [_attribute(tag[1], rb"\w+:id") for tag in _SHEET.finditer(archive.read("xl/workbook.xml"))]
    relations = (tag[1] for tag in _RELATION.finditer(archive.read("xl/_rels/workbook.xml.rels")))
    targets = {_attribute(relation, b"Id"): _attribute(relation, b"Target") for relation in relations}
    target = targets.get(sheets[index]) if index < len(sheets) else None
    name = str(PurePosixPath("xl") / target).lstrip("/") if target else ""  # an absolute target replaces the base
    if name not in archive.namelist():
        raise ClinicalSheetInvalid(problem="it is neither XLSX, XLS, ODS nor CSV")
    return name


def _attribute(tag: bytes, name: bytes) -> str:
    value = re.search(rb"\s" + name + rb"\s*=\s*[\"']([^\"']*)[\"']", tag)
    return value[1].decode("utf-8", "replace") if value else ""


def _cells(reference: str) -> Iterator[Place]:
    """Every cell of `B2` or `B2:B9`."""
    first, _, last = reference.partition(":")
    if first:
        top, left = _place(first)
        bottom, right = _place(last or first)
        yield from ((row, column) for row in range(top, bottom + 1) for column in range(left, right + 1))


def _place(reference: str) -> Place:
    letters = re.match(r"[A-Z]*", reference)
    name = letters[0] if letters else ""
    column = 0
    for letter in name:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(reference[len(name) :]) - 1, column - 1
