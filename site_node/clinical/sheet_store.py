"""The sheets and mappings that a home keeps: sheets under their digest, mappings under their headings' digest.

A text sheet is kept as UTF-8 with commas, so that its encoding and separator are declared only once. What was read of
a sheet is kept too, until the sheet, the mappings, the dictionary or the reader change.
"""

import csv
import hashlib
import io
import json
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from shared.durable import write_whole
from shared.errors.inputs import ClinicalSheetInvalid
from shared.errors.storage import DiskFull
from shared.ids import Sha256
from shared.protocol.clinical import ClinicalDictionary
from site_node.clinical.mapping import SheetMapping, mapping_text, possible_digests
from site_node.clinical.sheet import ClinicalSheet, type_table
from site_node.clinical.table import read_table
from site_node.clinical.typed_form import load_typed, reader_digest, save_typed
from site_node.sheets.table import Table

_PLAIN, _WORKBOOK = ".comma.csv", ".xlsx"
_NAMED = 32  # hexadecimal digits of the digest in a file's name


class SheetStore:
    """The folder `clinical/` of a home. PHI, so every file is readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mappings = folder / "mappings"
        self._typed = folder / "typed"

    def files(self, names: Iterable[str]) -> tuple[Path, ...]:
        """The sheets that begin with one of `names` and are still there, in the same order."""
        files = [path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith(".")]
        return tuple(path for name in names for path in files if path.name.startswith(name))

    def read_all(self, names: Iterable[str], dictionary: ClinicalDictionary) -> list[tuple[str, ClinicalSheet]]:
        """The name and content of each sheet of `names`; what was read of others is deleted.

        Raises as `read`.
        """
        files = self.files(names)
        sheets = [(file.name.partition(".")[0], self.read(file, dictionary)) for file in files]
        current = {self._typed_file(file, dictionary) for file in files}
        for typed in self._typed.glob("*"):
            if typed not in current:
                typed.unlink(missing_ok=True)
        return sheets

    def read(self, file: Path, dictionary: ClinicalDictionary, table: Table | None = None) -> ClinicalSheet:
        """One kept sheet, by the mapping for its headings where there is one; `table` is the file's, if it was read.

        Raises `ClinicalSheetInvalid` naming the file: it is damaged, or the rules became stricter since.
        """
        typed = self._typed_file(file, dictionary)
        made_from = Sha256(typed.stem)
        if sheet := load_typed(typed, made_from):
            return sheet
        try:
            table = table or _read_kept(file)
            sheet = type_table(table, dictionary, self.mapping_for(table))
        except ClinicalSheetInvalid as error:
            problem = f"clinical/{file.name} in the home: {error.fields['problem']}"
            way_out = "import a mended sheet, then delete that file"
            raise ClinicalSheetInvalid(error.private, problem=f"{problem}; {way_out}") from None
        with suppress(OSError, DiskFull):  # then it is read anew the next time
            self._typed.mkdir(mode=0o700, exist_ok=True)
            save_typed(typed, made_from, sheet)
        return sheet

    def mapping_for(self, table: Table) -> SheetMapping | None:
        """The mapping that a person once gave for one of the rows that headings may stand in."""
        for digest in possible_digests(table):
            file = self._mappings / f"{digest}.toml"
            if file.is_file():
                return _read_mapping(file)
        return None

    def remember(self, mapping: SheetMapping, dictionary: ClinicalDictionary) -> None:
        """Keep a mapping for the next sheet with the same headings, in place of an earlier one."""
        self._mappings.mkdir(mode=0o700, exist_ok=True)
        text = mapping_text(mapping, dictionary)
        write_whole(self._mappings / f"{mapping.headings}.toml", text.encode(), mode=0o600)

    def keep(self, sheet: Path, table: Table) -> Path:
        """Keep a sheet that was read as `table`, under its digest."""
        is_text = table.name is None
        content = _as_commas(table) if is_text else sheet.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        target = self._folder / f"{digest[:_NAMED]}{_PLAIN if is_text else _WORKBOOK}"
        write_whole(target, content, mode=0o600)
        return target

    def _typed_file(self, file: Path, dictionary: ClinicalDictionary) -> Path:
        """Where the typed form of a sheet is kept: under the digest of everything that it follows from."""
        sources = [file, *sorted(self._mappings.glob("*"))]
        parts = [reader_digest(), dictionary.model_dump_json()]
        parts += [text for source in sources for text in (source.name, hashlib.sha256(source.read_bytes()).hexdigest())]
        return self._typed / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}.jsonl"


def _as_commas(table: Table) -> bytes:
    text = io.StringIO(newline="")
    rows = [list(row) for row in table.rows]
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def _read_kept(file: Path) -> Table:
    if file.name.endswith(_PLAIN):
        return read_table(file, separator="comma")
    try:
        return read_table(file)
    except ClinicalSheetInvalid:  # a text that an earlier release kept as it came
        return read_table(file, encoding="cp1252")


def _read_mapping(file: Path) -> SheetMapping:
    try:
        return SheetMapping.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError):
        raise ClinicalSheetInvalid(problem="a mapping kept in the home is damaged; import its sheet again") from None
