"""The forms that values which stay must have (PS3.5 section 6.2)."""

import re
from collections.abc import Callable

from shared.protocol.profile import Rule
from shared.protocol.value_terms import value_terms
from shared.protocol.vr import FORMS, LONGEST
from site_node.deidentify.hidden_bytes import multiplicity_of

PADDING = b" \0"
_DECIMAL_COMMA = re.compile(
    rb"( *[+-]?)(?!0*[1-9]\d{0,2},\d{3}\Z)(\d*),(\d+)\Z"
)  # `1,500` may be a thousand and a half
_BODY_PART = 0x00180015
_BEYOND_IS = 1 << 31


def mended(rule: Rule, vr: str, raw: bytes, tells: Callable[[bytes], bool] = lambda _value: False) -> bytes:
    """A value of a `FORMS` representation as it is plainly meant; `raw` itself where there is nothing to mend.

    What is none of its kind, or `tells` of somebody, becomes empty, and what is past the attribute's multiplicity goes.
    Of an attribute that needs several values (a position, the first two of ImageType) and lost one, nothing is left.
    """
    least, most = multiplicity_of(rule)
    old = [value.rstrip(PADDING) for value in raw.rstrip(PADDING).split(b"\\")]
    new = [b"" if tells(value) else value for value in (_meant(rule, vr, value) for value in old[:most])]
    if new == old:
        return raw
    if least > 1 and any(before and not after for before, after in zip(old[:least], new, strict=False)):
        return b""
    return b"\\".join(new).rstrip(b"\\")


def _meant(rule: Rule, vr: str, value: bytes) -> bytes:
    """One value as its representation writes it; empty where that is not plain."""
    if vr == "CS":
        return _code(rule, value.upper())
    if not value or FORMS[vr].tolerated.fullmatch(value):
        return value
    comma = _DECIMAL_COMMA.fullmatch(value)
    number = b"%b%b.%b" % comma.groups() if comma else value
    if vr not in {"DS", "IS"} or not FORMS["DS"].tolerated.fullmatch(number):
        return b""
    if vr == "DS":
        return number
    return b"%d" % round(float(number)) if abs(float(number)) < _BEYOND_IS else b""


def _code(rule: Rule, capitals: bytes) -> bytes:
    """A code string; of a body part that is written with other signs, such as `C-SPINE`, the Standard's term."""
    if FORMS["CS"].standard.fullmatch(capitals):
        return capitals
    letters = "".join(filter(str.isalnum, capitals.decode("latin-1")))
    return letters.encode() if rule.tag == _BODY_PART and letters in value_terms().body_parts.terms else b""


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
