"""The form of values by value representation (PS3.5 section 6.2), on raw bytes."""

import re
from datetime import date
from functools import lru_cache

from site_node.validate.elements import WORDS

_UID = rb"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*"
_TIME = rb"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_FORMS = {
    "AS": re.compile(rb"\d{3}[DWMY]"),
    "CS": re.compile(rb"[A-Z0-9_ ]{1,16}"),
    "DA": re.compile(rb"(\d{8})"),
    "DS": re.compile(rb"(?=.{1,16}$) *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *"),
    "DT": re.compile(rb"(\d{8})(?:" + _TIME + rb")?"),
    "IS": re.compile(rb" *[+-]?\d{1,12} *"),
    "TM": re.compile(_TIME + rb" *"),
    "UI": re.compile(rb"(?=.{1,64}$)" + _UID),
}
# Forms that real devices write against the letter of the Standard, and that cannot hold text all the same.
_TOLERABLE = {
    "CS": re.compile(rb" *(?:[A-Z0-9_ ]*|[A-Za-z0-9_]+)"),
    "DS": re.compile(rb" *[+-]?[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)? *"),
    "IS": re.compile(rb" *[+-]?[0-9]* *"),
    "TM": re.compile(rb"(?:[0-2][0-9](?::?[0-6][0-9](?::?[0-6][0-9](?:\.[0-9]{1,6})?)?)?)? *"),
}
_LONGEST = {"LO": 64, "SH": 16, "AE": 16}
TEXT = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "CS"})


@lru_cache(maxsize=4096)
def has_form(raw: bytes, vr: str) -> bool:
    """Whether a raw value is one that its representation allows; an empty one always is."""
    if len(raw) % 2:
        return False
    if vr in WORDS:
        return len(raw) % WORDS[vr] == 0
    values = raw.split(b"\\") if vr not in {"LT", "ST", "UT", "UR"} else [raw]
    form = _FORMS.get(vr)
    if form is not None:
        return all(_fits(value.rstrip(b" \0"), form, vr) for value in values)
    longest = _LONGEST.get(vr)
    # A multi-byte character set has fewer characters than bytes, and may hold a byte that looks like a backslash.
    return longest is None or not raw.isascii() or all(len(value.rstrip(b" \0")) <= longest for value in values)


def is_tolerable(raw: bytes, vr: str) -> bool:
    """Whether a malformed value may stay as in the source: text in place of a number, time or code may not."""
    form = _TOLERABLE.get(vr)
    return form is None or all(form.fullmatch(value.rstrip(b" \0")) for value in raw.split(b"\\"))


def _fits(value: bytes, form: re.Pattern[bytes], vr: str) -> bool:
    if not value:
        return True
    match = form.fullmatch(value)
    return match is not None and (vr not in {"DA", "DT"} or day_of(match.group(1)) is not None)


def day_of(digits: bytes) -> date | None:
    """The day of eight digits; `None` where the calendar lacks it."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
