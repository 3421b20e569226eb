"""Shifting dates and datetimes (PS3.5 section 6.2) by whole days, backwards; times of day stay as they are."""

import re
from datetime import date, timedelta

from site_node.deidentify.date_search import day_of

_DATE = re.compile(r"(\d{4})(\d{2})?(\d{2})?")
_OLD_DATE = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})")  # ACR-NEMA 2.0
_TIME = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_DATETIME = re.compile(rf"(\d{{8}}|\d{{6}}|\d{{4}})((?<=\d{{8}}){_TIME})?(?:[+-][01]\d[0-5]\d)?")


def shift_values(text: str, days: int, *, complete: bool) -> str | None:
    """Every date or datetime of a DA or DT value shifted; None if `complete` and one of them is not a date.

    Args:
        text: values joined by backslashes; of a range (`a-b`, `a-`, `-b`) both ends are shifted.
        days: how far back.
        complete: partial dates are completed to their first day; else they, and what is not a date, become empty.

    A zone suffix is dropped, because the zone tells where the hospital is.
    """
    shifted = [_shift_value(value.strip(" \0"), days, complete=complete) for value in text.split("\\")]
    if complete and not all(shifted):
        return None
    return "\\".join(shifted) if any(shifted) else ""


def years_between(birth: str, day: str) -> int | None:
    """Whole years from one date to another, each eight digits; `None` where one of them is not a whole date."""
    first, last = day_of(birth.strip(" \0")), day_of(day.strip(" \0"))
    if first is None or last is None:
        return None
    return last.year - first.year - ((last.month, last.day) < (first.month, first.day))


def _shift_value(value: str, days: int, *, complete: bool) -> str:
    """One value or range; empty if it is not a date."""
    match = _DATETIME.fullmatch(value) or _OLD_DATE.fullmatch(value)
    if match is None:
        ends = value.split("-")
        if len(ends) != 2 or not any(ends):  # a range has two ends
            return ""
        shifted = [_shift_value(end.strip(), days, complete=complete) for end in ends]
        return "-".join(shifted) if all(new or not end for new, end in zip(shifted, ends, strict=True)) else ""
    if match.re is _OLD_DATE:
        return _back("".join(match.groups()), days, complete=complete)
    day = _back(match.group(1), days, complete=complete)
    return day + (match.group(2) or "") if day else ""


def _back(digits: str, days: int, *, complete: bool) -> str:
    match = _DATE.fullmatch(digits)
    if match is None or (not complete and not match.group(3)):
        return ""
    try:
        new = date(int(match.group(1)), int(match.group(2) or 1), int(match.group(3) or 1)) - timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{new:%Y}".rjust(4, "0") + f"{new:%m%d}"
