"""The forms that values which stay must have (PS3.5 section 6.2)."""

import re

from shared.protocol.vr import FORMS, LONGEST

PADDING = b" \0"
AGE = re.compile(rb"(\d{3})([DWMY])")
_WHOLE_NUMBER = re.compile(r" *[+-]?0*(\d+)(?:\.0*)?[ \0]*")


def is_tolerated(vr: str, value: bytes) -> bool:
    """Whether one value has a form of its representation, or none at all, so that no text travels as number or code."""
    content = value.rstrip(PADDING)
    return not content or FORMS[vr].tolerated.fullmatch(content) is not None


def is_standard(vr: str, raw: bytes) -> bool:
    """Whether a value of unknown representation (UN, PS3.5 section 6.2.2) is what the table says it is.

    One that was copied under its own representation keeps the form errors that it had; this gets its representation
    from us.
    """
    form, longest = FORMS.get(vr), LONGEST.get(vr, len(raw))
    contents = (value.rstrip(PADDING) for value in raw.split(b"\\"))
    return all(
        len(content) <= longest and (form is None or not content or form.standard.fullmatch(content) is not None)
        for content in contents
    )


def digits_of(value: str) -> str:
    """A number without sign, leading zeros and a fraction of zeros; empty for one that is not whole."""
    number = _WHOLE_NUMBER.fullmatch(value)
    return number.group(1) if number else ""
