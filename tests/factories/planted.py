"""Identifying words that no header names, as people write them into text; all persons are invented.

All is drawn from the `Random` that is passed in, so that equal seeds give equal words. Hypothesis passes its own.
"""

import re
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType

Draw = Callable[[Random], str]

_FIRST = ("Bra", "Dvo", "Fel", "Gor", "Hja", "Kel", "Lun", "Mor", "Oka", "Prz", "Quil", "Tho", "Vla", "Wyr", "Zim")
_LAST = ("bekov", "dqvist", "fowicz", "gasaki", "hersby", "ldsson", "mannik", "strup", "tsenko", "wasser", "zquez")
_COMMON = ("Schmidt", "Nguyen", "Okafor", "Garcia", "Kowalski", "Hernandez", "Johansson", "Petrova")
_GIVEN = ("Berenika", "Quentin", "Ignotus", "Petra", "Anneliese", "Rodrigo", "Svetlana", "Thaddeus")
_PLACES = ("Ormskirk", "Silverbrook", "Fjordvik", "Hathersage", "Wolverhampton", "Kecskemet", "Valparaiso")
_ROADS = ("Quarry", "Birch", "Thornbury", "Ashgrove")
_FOREIGN = ("Иванова", "Παπαδόπουλος", "山田太郎", "Шевченко", "Κωνσταντίνου", "김민준")
_MONTHS = ("Jan", "Mar", "Aug", "Nov", "März", "août", "ноября")
_ROMAN = ("I", "IV", "VIII", "XI")
_INSIDE = 5  # letters of an identifying word that must not stand within another word either


def surname(random: Random) -> str:
    """A surname, common or made of syllables."""
    return random.choice((random.choice(_FIRST) + random.choice(_LAST), random.choice(_COMMON)))


def given_name(random: Random) -> str:
    """A first name."""
    return random.choice(_GIVEN)


def number(random: Random) -> str:
    """A record number of five to nine digits, bare or behind letters."""
    digits = str(random.randint(10_000, 999_999_999))
    return random.choice((digits, f"MRN{digits}", f"A{digits}"))


def phone(random: Random) -> str:
    """A telephone number of the range kept for stories."""
    last = random.randint(1000, 9999)
    return random.choice(("(501) 555-{}", "501.555.{}", "501-555-{}", "+1 501 555 {}", "555/{}")).format(last)


def date(random: Random) -> str:
    """A day that no header holds: in figures, with a month's name, in Roman or Arabic ones."""
    day, month, year = random.randint(1, 28), random.randint(1, 12), random.randint(1931, 2019)
    name = random.choice(_MONTHS)
    eastern = f"{day:02}/{month:02}/{year}".translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    return random.choice((
        f"{day:02}/{month:02}/{year}", f"{year}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year}", eastern,
        f"{year}{month:02}{day:02}", f"{day:02}_{month:02}_{year}", f"{day:02}-{name}-{year}", f"{day} {name} {year}",
        f"{day} {random.choice(_ROMAN)} {year}", f"{year}年{month}月{day}日",
    ))  # fmt: skip


def host(random: Random) -> str:
    """A computer's name or address."""
    place = random.choice(_PLACES).lower()
    address = ".".join(str(random.randint(1, 254)) for _ in range(4))
    return random.choice((f"ntp.{place}.org", f"{place}-pacs{random.randint(1, 9)}", address))


def place(random: Random) -> str:
    """A town or a road."""
    return random.choice((*_PLACES, *_ROADS))


def user(random: Random) -> str:
    """A user name or mail address: an initial and a surname."""
    name = random.choice("abcdefgh") + surname(random).lower()
    return random.choice((name, f"{name}@{random.choice(_PLACES).lower()}.org"))


def transliterated(random: Random) -> str:
    """A name in another script than the words around it."""
    return random.choice(_FOREIGN)


KINDS: Mapping[str, Draw] = MappingProxyType({
    "surname": surname, "given name": given_name, "number": number, "phone": phone, "date": date, "host": host,
    "place": place, "user": user, "transliterated name": transliterated,
})  # fmt: skip


def words_of(text: str) -> list[str]:
    """The words of a text in small letters, without the punctuation around them."""
    return [word for part in re.split(r"[\s,;()\\^]+", text.casefold()) if (word := part.strip(".:=_"))]


def is_left(identifying: str, text: str) -> bool:
    """Whether a text still holds what must go, whole or a part of three letters or more; short parts as words only."""
    folded = text.casefold()
    parts = {*words_of(identifying), *re.split(r"[\W_]+", identifying.casefold())}
    words = {*words_of(text), *re.split(r"[\W_]+", folded)}
    return any(part in words or (len(part) >= _INSIDE and part in folded) for part in parts if len(part) > 2)
