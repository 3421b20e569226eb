"""The clinical sheets of a home: import one, and match every sheet with every study."""

from pathlib import Path
from typing import NamedTuple

from site_node.clinical.mapping import SheetMapping
from site_node.clinical.matching import KnownStudy, Unmatched, unmatched
from site_node.clinical.sheet import ClinicalSheet, type_table
from site_node.clinical.sheet_store import SheetStore
from site_node.home.ledger import State
from site_node.home.records import Records
from site_node.home.words import NO_STUDY
from site_node.node.composition import join_keys
from site_node.node.open import Node
from site_node.sheets.table import Table
from site_node.study import Received, Severity

_SHOWN = 12  # digits of a sheet's digest
_SHEET_CODES = ("clinical-", "covid-", "age-", "sex-")  # prefixes of codes that another sheet may settle


class SheetImport(NamedTuple):
    """An imported sheet, the mapping used, and how many studies are screened again because of it."""

    sheet: ClinicalSheet
    mapping: SheetMapping | None
    reopened: int


class SheetsAndStudies(NamedTuple):
    """Every sheet of the home by its digest, every study with its identifiers, and the unmatched of both."""

    sheets: list[tuple[str, ClinicalSheet]]
    studies: list[KnownStudy]
    unmatched: Unmatched


def import_sheet(node: Node, file: Path, table: Table, mapping: SheetMapping | None, *, actor: str) -> SheetImport:
    """Store a sheet that was read as `table`, and screen again the studies that it may settle.

    The copy is used from one change of the ledger on; a kill before it leaves a copy that nothing uses.
    A given `mapping` is remembered for these headings; without one the remembered mapping is used.
    Raises `ClinicalSheetInvalid`.
    """
    dictionary, store = node.stages.protocol.clinical, SheetStore(node.home.clinical)
    used = mapping or store.mapping_for(table)
    sheet = type_table(table, dictionary, used)
    kept = store.keep(file, table)
    if mapping:
        store.remember(mapping, dictionary)
    if table.name is not None:  # a text file is kept in another form
        store.read(kept, dictionary, table)
    name = kept.name[:_SHOWN]
    reviewed = f", mapping reviewed by {used.reviewed_by}" if used else ""
    with node.home.changing(), node.ledger.changing():
        node.ledger.audit(actor, "clinical-import", NO_STUDY, f"sheet {name}: {len(sheet.rows)} rows{reviewed}")
        node.ledger.sheets.put(name)
        return SheetImport(sheet, used, _reopen(node))


def match_sheets(node: Node) -> SheetsAndStudies:
    """Match every sheet of the home with every study of the ledger."""
    sheets = SheetStore(node.home.clinical).read_all(node.ledger.sheets.all(), node.stages.protocol.clinical)
    studies, joined = _known_studies(node), node.stages.joined
    tokens = joined.tokens()
    return SheetsAndStudies(
        sheets, studies, unmatched(sheets, studies, was_joined=lambda row: joined.token_of(row) in tokens)
    )


def _known_studies(node: Node) -> list[KnownStudy]:
    """Every study of the ledger; one whose files are deleted has no keys, only whether it once had a row."""
    records, joined = Records(node.home), node.stages.joined
    studies = []
    for entry in node.ledger.studies():
        received = records.find(entry.key, Received)
        is_here = received is not None and received.instances[0].path.exists()
        keys = join_keys(received) if received and is_here else None
        studies.append(KnownStudy(entry.key, keys, joined.has(entry.key)))
    return studies


def _reopen(node: Node) -> int:
    """Reopen studies held for a reason that a sheet may settle, and return how many.

    Those not screened yet are reopened, too: a screen that began with the previous sheets is void.
    """
    for entry in node.ledger.studies(State.RECEIVED):
        node.ledger.reopen(entry.key, (), ())
    waiting = [
        entry.key
        for entry in node.ledger.studies(State.QUARANTINED)
        if any(reason.severity is Severity.REVIEW and reason.code.startswith(_SHEET_CODES) for reason in entry.reasons)
    ]
    for key in waiting:
        study = Records(node.home).read(key, Received)
        node.ledger.reopen(key, (), [instance.name for instance in study.instances])
    return len(waiting)
