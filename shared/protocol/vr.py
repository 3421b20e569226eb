"""Value representations (PS3.5 section 6.2): one table of their headers, words, lengths and forms.

`deidentify` and `validate` apply it each by a method of its own; what a form is, is reviewed here once.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# By the length field under explicit VR (PS3.5 section 7.1.2): 16 bits, or 32 after two reserved bytes.
SHORT_VRS = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI",
     "UL", "US"}
)  # fmt: skip
LONG_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
VRS = SHORT_VRS | LONG_VRS
WORD_SIZES: Mapping[str, int] = MappingProxyType(
    {"AT": 2, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "SL": 4, "SS": 2, "SV": 8, "UL": 4,
     "US": 2, "UV": 8}
)  # fmt: skip
LONGEST: Mapping[str, int] = MappingProxyType({"AE": 16, "LO": 64, "SH": 16})  # characters of one value
DEEPEST = 64  # sequences within sequences that are read; the deepest object of PS3.3 has far fewer


class Form(NamedTuple):
    """The form of one value that is not empty, without the padding at its end."""

    standard: re.Pattern[bytes]
    tolerated: re.Pattern[bytes]  # what real devices write besides: longer decimals, colons; never text


_TIME = rb"(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_TIME_WITH_COLONS = rb"(?:[01]\d|2[0-3])(?::?[0-5]\d(?::?(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?"
_UID = rb"(?=.{1,64}\Z)(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))*"
_DECIMAL = rb"(?=.{1,16}\Z) *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_LONG_DECIMAL = rb" *[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?"
_FORMS = {
    "AS": (rb"\d{3}[DWMY]", rb"\d{3}[DWMY]"),
    "CS": (rb"[A-Z0-9_ ]{1,16}", rb"[A-Z0-9_ ]{1,16}"),
    "DA": (rb"\d{8}", rb"\d{8}"),
    "DS": (_DECIMAL, _LONG_DECIMAL),
    "DT": (rb"\d{8}(?:" + _TIME + rb")?", rb"\d{8}(?:" + _TIME + rb")?"),
    "IS": (rb"(?=.{1,12}\Z) *[+-]?\d+", rb" *[+-]?\d{1,12}"),
    "TM": (_TIME, _TIME_WITH_COLONS),
    "UI": (_UID, _UID),
}
FORMS: Mapping[str, Form] = MappingProxyType({vr: Form(*map(re.compile, pair)) for vr, pair in _FORMS.items()})
