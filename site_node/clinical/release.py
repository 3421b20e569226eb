"""What may leave the hospital of a clinical row: codes, numbers, shifted dates and capped ages, and nothing else."""

from datetime import date, timedelta

from shared.protocol.clinical import ClinicalDictionary, Field
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.study import ClinicalRow, Identity

ReleasedValue = str | int | float | None


def deidentify_row(
    row: ClinicalRow, *, dictionary: ClinicalDictionary, pseudonyms: Pseudonyms, identity: Identity
) -> dict[str, ReleasedValue]:
    """The row as it leaves: every field that may leave, by name, in the dictionary's order; `None` where unknown.

    Dates go back by the patient's own shift, as in the images, and are written `YYYY-MM-DD`; the result never
    holds hospital identifiers or free text.
    """
    days = pseudonyms.shift_days(identity)
    return {field.name: _release_value(row.values.get(field.name), field, days) for field in dictionary.released_fields}


def _release_value(value: str | float | date | None, field: Field, days: int) -> ReleasedValue:
    if isinstance(value, date):
        return (value - timedelta(days=days)).isoformat()
    if field.kind == "code":
        return value if value in {code.value for code in field.codes} else None
    if isinstance(value, str):
        return None  # codes are the only text that leaves
    if value is not None and field.cap is not None:
        return min(int(value), field.cap)
    return value
