"""Values of unknown representation (UN, PS3.5 section 6.2.2): which of them are what the table says they are.

A value that was copied under its own representation keeps the form errors that it had. One that was UN gets its
representation from us, so its form must be right.
"""

import re

_FORMS = {
    "AE": rb"[^\\]{0,16}",
    "CS": rb"[A-Z0-9_ ]{0,16}",
    "DS": rb"(?=[^\\]{0,16}(?:\\|\Z))(?: *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)? *",
    "IS": rb"(?=[^\\]{0,12}(?:\\|\Z))(?: *[+-]?\d+)? *",
    "LO": rb"[^\\]{0,64}",
    "SH": rb"[^\\]{0,16}",
    "TM": rb"(?:(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?)? *",
}
_WHOLE = {vr: re.compile(rb"%b(?:\\%b)*" % (form, form)) for vr, form in _FORMS.items()}


def is_of(vr: str, value: bytes) -> bool:
    """Whether a value has the form of a representation that the file does not claim for it."""
    form = _WHOLE.get(vr)
    return form is None or form.fullmatch(value.rstrip(b" \0")) is not None
