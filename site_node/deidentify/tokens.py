"""The words, numbers and names that a text is made of."""

import re
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple
from unicodedata import normalize

from shared.protocol.words import Numbers

_NUMBER = r"[0-9]+(?:[.,][0-9]+)?|(?<![0-9])\.[0-9]+"
# Marks may follow their letter; C1 controls and Latin-1 signs but the degree are parts of misread letters.
_RUN = r"(?:[^\W_]|[\u0300-\u036f\x80-\xaf\xb1-\xbf])+"


class Kind(Enum):
    """What a token is made of."""

    WORD = "letters"
    LETTER = "one letter"
    NUMBER = "digits, alone"
    MEASURE = "digits with their unit"
    NAME = "letters with digits"


class Token(NamedTuple):
    """A part of a text without signs around it."""

    start: int
    end: int
    kind: Kind
    text: str


def tokens_of(text: str, pattern: re.Pattern[str]) -> Iterator[Token]:
    """The tokens of a text by `token_pattern`, in order; what lies between them is signs and space."""
    for match in pattern.finditer(text):
        token = match.group()
        if match.lastgroup is not None:
            kind = Kind[match.lastgroup]
        elif len(normalize("NFC", token)) == 1:
            kind = Kind.LETTER
        else:
            kind = Kind.WORD if normalize("NFC", token).isalpha() else Kind.NAME
        yield Token(match.start(), match.end(), kind, token)


def token_pattern(numbers: Numbers) -> re.Pattern[str]:
    """Matches a measure with one of the units, a number, or a run of letters and digits."""
    unit = "|".join(sorted(map(re.escape, numbers.units), key=len, reverse=True))
    decimals = rf"(?:[.,][0-9]{{1,{numbers.decimals_measured}}})?"
    initial = "".join(filter(str.isalpha, (unit for unit in numbers.units if len(unit) == 1)))
    several = (
        rf"[0-9]{{1,{numbers.digits}}}{decimals}[/x*_-][0-9]{{1,{numbers.digits}}}{decimals}(?! [{initial}](?![^\W_]))"
    )
    single = rf"[0-9]{{1,{numbers.digits_measured}}}{decimals}"
    measure = rf"(?<![0-9][-/.,:x*_])(?:{several}|{single}) ?(?:{unit})(?:/(?:{unit}))?(?![^\W_])"
    return re.compile(rf"(?P<MEASURE>{measure})|(?P<NUMBER>(?:{_NUMBER})(?![^\W_]))|{_RUN}", re.IGNORECASE)
