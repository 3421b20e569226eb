"""The form of values by value representation (PS3.5 section 6.2), on raw bytes.

Independent of `site_node.deidentify.value_forms` on purpose; the forms themselves are shared (`shared.protocol.vr`).
"""

import re
from datetime import date
from functools import lru_cache

from shared.protocol.vr import FORMS, LONGEST, WORD_SIZES

TEXT = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "CS"})


@lru_cache(maxsize=4096)
def has_form(raw: bytes, vr: str) -> bool:
    """Whether a raw value is one that its representation allows; an empty one always is."""
    if len(raw) % 2:
        return False
    if vr in WORD_SIZES:
        return len(raw) % WORD_SIZES[vr] == 0
    values = raw.split(b"\\") if vr not in {"LT", "ST", "UT", "UR"} else [raw]
    form = FORMS.get(vr)
    if form is not None:
        return all(_fits(value.rstrip(b" \0"), form.standard, vr) for value in values)
    longest = LONGEST.get(vr)
    # A multi-byte character set has fewer characters than bytes, and may hold a byte that looks like a backslash.
    return (
        longest is None
        or not raw.isascii()
        or b"\x1b" in raw
        or all(len(value.rstrip(b" \0")) <= longest for value in values)
    )


def is_tolerable(raw: bytes, vr: str) -> bool:
    """Whether a malformed value may stay as in the source: text in place of a number, time or code may not."""
    form = FORMS.get(vr)
    contents = (value.rstrip(b" \0") for value in raw.split(b"\\"))
    return form is None or all(not content or form.tolerated.fullmatch(content) for content in contents)


def _fits(value: bytes, form: re.Pattern[bytes], vr: str) -> bool:
    if not value:
        return True
    return form.fullmatch(value) is not None and (vr not in {"DA", "DT"} or day_of(value[:8]) is not None)


def day_of(digits: bytes) -> date | None:
    """The day of eight digits; `None` where the calendar lacks it."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
