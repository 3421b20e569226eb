"""What of a clinical row may leave the hospital: codes, numbers, shifted dates, capped ages. Nothing else does."""

from datetime import date, timedelta

from shared.protocol.clinical import ClinicalDictionary, Field
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import ClinicalRow, Identity

Leaving = str | int | float | None


def deidentify_row(
    row: ClinicalRow, *, dictionary: ClinicalDictionary, pseudonyms: Pseudonyms, identity: Identity
) -> dict[str, Leaving]:
    """The row as it leaves: every leaving field of the dictionary by name, in its order; `None` where unknown.

    Dates go back by the patient's own shift, as in the images, and are written `YYYY-MM-DD`; hospital identifiers and
    free text have no place in the result.
    """
    days = pseudonyms.shift_days(identity)
    return {field.name: _leave(row.values.get(field.name), field, days) for field in dictionary.leaving}


def _leave(value: str | float | date | None, field: Field, days: int) -> Leaving:
    if isinstance(value, date):
        return (value - timedelta(days=days)).isoformat()
    if field.kind == "code":
        return value if value in {code.value for code in field.codes} else None
    if isinstance(value, str):
        return None  # no text leaves but a code
    if value is not None and field.cap is not None:
        return min(int(value), field.cap)
    return value
