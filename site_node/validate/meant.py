"""Whether a new value is what its source plainly meant: another spelling, without values that are none of its kind.

Independent of `site_node.deidentify.value_forms` on purpose: nothing is mended here, both sides are compared by what
they say. The lists of spellings are shared data (`shared.protocol.value_terms`).
"""

import re
from decimal import Decimal, InvalidOperation
from functools import cache

from shared.protocol.value_terms import value_terms
from site_node.validate.values import day_of

_PAD = b" \0"
_SIGNS = re.compile(r"[\W_]+")
_HALF = Decimal("0.5")
_AGE = re.compile(rb"0*(\d{1,3}) ?([dwmyDWMY]?)")
_OLDEST, _OLDEST_YEARS = b"090Y", 89


def charset_terms(raw: bytes) -> tuple[str, ...] | None:
    """The Standard's terms that the values of SpecificCharacterSet mean; `None` if one means none."""
    terms = tuple(_terms().get(_SIGNS.sub("", value).lower()) for value in raw.decode("latin-1").split("\\"))
    known = tuple(term for term in terms if term is not None)
    return known if len(known) == len(terms) else None


@cache
def _terms() -> dict[str, str]:
    sets = value_terms().character_sets
    pairs = [("", ""), *((term, term) for term in sets.terms), *sets.spellings.items()]
    return {_SIGNS.sub("", spelling).lower(): term for spelling, term in pairs}


def says_the_same(new: bytes, old: bytes, vr: str) -> bool:
    """Whether each value of a code or number is absent, as it was, or says the same in another spelling."""
    after, before = new.split(b"\\"), old.split(b"\\")
    return len(after) <= len(before) and all(
        not now.strip(_PAD) or now.rstrip(_PAD) == was.rstrip(_PAD) or _is_respelled(now, was, vr)
        for now, was in zip(after, before, strict=False)
    )


def _is_respelled(new: bytes, old: bytes, vr: str) -> bool:
    if vr == "CS":
        now, was = new.decode("latin-1"), old.decode("latin-1")
        letters = _SIGNS.sub("", was).upper()
        return now.strip() == was.strip().upper() or (now == letters and letters in value_terms().body_parts.terms)
    try:
        said, meant = (Decimal(value.decode("latin-1").strip(" \0").replace(",", ".")) for value in (new, old))
    except InvalidOperation:
        return False
    return said == meant if vr == "DS" else vr == "IS" and abs(said - meant) <= _HALF


def is_age_of(new: bytes, old: bytes, birth: bytes, day: bytes) -> bool:
    """Whether a PatientAge is its source's, over 89 years capped, or, where that is empty, the age by the dates."""
    stated = _AGE.fullmatch(old)
    if old and not stated:
        return False
    born, seen = day_of(birth), day_of(day)
    if stated:
        years, unit = int(stated[1]), stated[2].upper() or b"Y"
    elif born and seen:
        years, unit = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day)), b"Y"
    else:
        return False
    return new == (_OLDEST if unit == b"Y" and years > _OLDEST_YEARS else b"%03d%b" % (years, unit))
