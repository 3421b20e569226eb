"""The patient index of the RSNA Anonymizer: which patients a site contributed before, with which date shifts.

Version 19 exports a CSV file with named columns and a line for each series; the Java program before it an XLSX sheet
with a line for each study. Their own store is a pickle or a database and is never read. UIDs are not imported: those
programs made them without a key.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from shared.agreement import AgreementTerms
from shared.errors.inputs import ClinicalSheetInvalid, LinkageConflict, LinkageInvalid, SourceMissing
from site_node.clinical.table import read_table
from site_node.home.ledger import Ledger
from site_node.home.patients import INTERVALS_NOT_KEPT, PatientRow
from site_node.home.words import NO_STUDY
from site_node.pseudonyms.names import KeyedNames, link_of
from site_node.pseudonyms.sealed_link import LONGEST_KNOWN_SHIFT, EarlierContribution
from site_node.study import Identity

_NEW_ID, _OLD_ID, _OFFSET, _NEW_DATE, _OLD_DATE = (
    "anonpatientid", "phipatientid", "dateoffset", "anonstudydate", "phistudydate",
)  # fmt: skip
_NEEDED = (_NEW_ID, _OLD_ID, _OFFSET)
_JAVA = ("anonpatientname", _NEW_ID, "phipatientname", _OLD_ID, _OFFSET, _NEW_DATE, _OLD_DATE)  # its first columns
_JAVA_COLUMNS = 11
_NOBODY = "000000"  # the number under which version 19 put all studies without a PatientID


class IndexImport(NamedTuple):
    """Patients that were entered, those of them whose shift is kept, and lines without a patient."""

    patients: int
    shift_kept: int
    nobody: int


class _Entry(NamedTuple):
    """One line."""

    pseudonym: str
    patient_id: str
    shift_days: int | None  # back


def import_index(
    ledger: Ledger, names: KeyedNames, terms: AgreementTerms, file: Path, *, issuer: str, actor: str
) -> IndexImport:
    """Enter the patients of an earlier contribution, in one transaction.

    A patient's known shift is kept. One whose shift is missing or contradictory, or whom this ledger knows already
    under its own shift, is flagged: intervals to the earlier contribution are not kept.

    Args:
        ledger: this site's ledger.
        names: with this site's secret.
        terms: the agreement, which names the earlier SITEIDs.
        file: the index that the program exported.
        issuer: IssuerOfPatientID as the hospital's images have it; the index lacks it.
        actor: who does it, for the audit.

    Raises:
        LinkageInvalid: it is not such an index.
        LinkageConflict: its SITEID is not one that the agreement names, or a patient has two pseudonyms.
    """
    entries = list(_read(file))
    named = [entry for entry in entries if entry.patient_id and not entry.pseudonym.endswith(f"-{_NOBODY}")]
    if not {entry.pseudonym.partition("-")[0] for entry in named} <= set(terms.earlier_site_ids):
        raise LinkageConflict(problem="the index is of a SITEID that the agreement does not name as an earlier one")
    rows = sorted(_rows(ledger, names, named, issuer))
    kept_shifts = sum(not row.flag for row in rows)
    with ledger.changing():
        ledger.patients.add(rows)
        ledger.audit(actor, "index-import", NO_STUDY, f"{len(rows)} patients, the shift of {kept_shifts} kept")
    return IndexImport(len(rows), kept_shifts, len(entries) - len(named))


def _rows(ledger: Ledger, names: KeyedNames, entries: Iterable[_Entry], issuer: str) -> Iterator[PatientRow]:
    """A row for each patient; numbers follow the order of tokens, which reveals nothing."""
    by_patient: dict[str, list[_Entry]] = {}
    for entry in entries:
        by_patient.setdefault(entry.patient_id, []).append(entry)
    for patient_id, lines in by_patient.items():
        if len({entry.pseudonym for entry in lines}) > 1:
            raise LinkageConflict(problem="the index gives a patient two pseudonyms")
        identity = Identity(patient_id=patient_id, issuer=issuer)
        token = names.token(identity)
        sealed = ledger.link(token)
        before = names.links.open(token, sealed) if sealed else None
        shift = _shift(lines) if before is None or before.earlier is not None else None
        link = (before or link_of(identity)).model_copy(
            update={"earlier": EarlierContribution(pseudonym=lines[0].pseudonym, shift_days=shift)}
        )
        yield PatientRow(token, 0, names.links.seal(token, link), "" if shift else INTERVALS_NOT_KEPT)


def _shift(lines: Sequence[_Entry]) -> int | None:
    """The shift of a patient, where all lines agree."""
    shifts = {entry.shift_days for entry in lines}
    return shifts.pop() if len(shifts) == 1 else None


def _read(file: Path) -> Iterator[_Entry]:
    try:
        rows = read_table(file).rows
    except SourceMissing:
        raise SourceMissing(source="the patient index") from None
    except ClinicalSheetInvalid as error:
        raise LinkageInvalid(problem=error.fields["problem"]) from None
    columns = _columns([_folded(cell) for cell in rows[0]])
    for row in rows[1:]:
        cells = {name: row[at] for name, at in columns.items() if at < len(row)}
        pseudonym = _text(cells.get(_NEW_ID))
        if pseudonym:
            yield _Entry(pseudonym, _text(cells.get(_OLD_ID)), _days_back(cells))


def _columns(head: Sequence[str]) -> dict[str, int]:
    if set(_NEEDED) <= set(head):
        return {name: head.index(name) for name in (*_NEEDED, _NEW_DATE, _OLD_DATE) if name in head}
    if len(head) == _JAVA_COLUMNS:
        return {name: at for at, name in enumerate(_JAVA)}
    raise LinkageInvalid(problem="it has not the columns of a patient index of the RSNA Anonymizer")


def _days_back(cells: Mapping[str, object]) -> int | None:
    """Days that the dates went back, by both dates of a study, else by the offset; `None` if unknown, 0 or too many."""
    old, new = _day(cells.get(_OLD_DATE)), _day(cells.get(_NEW_DATE))
    days = (old - new).days if old and new else _offset_back(cells.get(_OFFSET))
    return days if days and abs(days) <= LONGEST_KNOWN_SHIFT else None


def _offset_back(cell: object) -> int | None:
    """A DateOffset in days back; the programs count days added, so the sign changes."""
    try:
        return -int(_text(cell))
    except ValueError:
        return None


def _day(cell: object) -> date | None:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    try:
        return date(*time.strptime(_text(cell)[:10].replace("-", ""), "%Y%m%d")[:3])
    except ValueError:
        return None


def _text(cell: object) -> str:
    """A cell as text; a spreadsheet turns a number of digits into a float."""
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole and isinstance(cell, float) else "" if cell is None else cell).strip()


def _folded(cell: object) -> str:
    return "".join(letter for letter in _text(cell).lower() if letter.isalnum())
