"""The forms that values which stay must have (PS3.5 section 6.2), and those that identify somebody in any text."""

import re

PADDING = b" \0"
# One value each, strict but for what real devices do: longer decimals, colons in times, small letters in codes.
FORMS = {
    "AS": re.compile(rb"(?:\d{3}[DWMY])?"),
    "CS": re.compile(rb" *(?:[A-Z0-9_ ]{0,16}|[A-Za-z0-9_]{1,16})"),
    "DS": re.compile(rb" *(?:[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?)?"),
    "IS": re.compile(rb" *(?:[+-]?\d{1,12})?"),
    "TM": re.compile(rb"(?:(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?"),
}
AGE = re.compile(rb"(\d{3})([DWMY])")
CONTACT = re.compile(r"[^\s@]{1,64}@\S|https?:|\d{3,}[\s-]\d{3,}[\s-]\d{3,}")  # addresses and telephone numbers
UID_IN_TEXT = re.compile(r"(?<![\d.])\d+(?:\.\d+){5,}")
_WHOLE_NUMBER = re.compile(r" *[+-]?0*(\d+)(?:\.0*)?[ \0]*")


def has_form(vr: str, raw: bytes) -> bool:
    """Whether each of the values has the form of its representation, so that no text travels as a number or code."""
    return all(FORMS[vr].fullmatch(value.rstrip(PADDING)) for value in raw.rstrip(PADDING).split(b"\\"))


def digits_of(value: str) -> str:
    """A number without sign, leading zeros and a fraction of zeros; empty for one that is not whole."""
    number = _WHOLE_NUMBER.fullmatch(value)
    return number.group(1) if number else ""
