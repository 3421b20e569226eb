"""Character sets: from SpecificCharacterSet to text, for searching only; what is kept is copied undecoded."""

import warnings
from collections.abc import Mapping
from functools import cache, lru_cache

from pydicom.charset import convert_encodings, decode_bytes, encode_string

from shared.protocol.search_terms import search_terms
from shared.protocol.value_terms import value_terms
from site_node.deidentify.reasons import unsupported


@lru_cache(maxsize=256)
def defined_terms(specific_character_set: bytes) -> tuple[str, ...]:
    """The terms of the Standard that the values of (0008,0005) mean, however they are spelled.

    Raises `DicomUnsupported` for a value that no spelling of a term is.
    """
    values = map(_letters, specific_character_set.decode("latin-1").split("\\"))
    try:
        return tuple(_spellings()[value] for value in values)
    except KeyError:
        raise unsupported("unknown-character-set", "SpecificCharacterSet") from None


@lru_cache(maxsize=256)
def encodings_of(specific_character_set: bytes) -> tuple[str, ...]:
    """Python's names of the encodings that (0008,0005) lists; raises `DicomUnsupported` as `defined_terms` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(list(defined_terms(specific_character_set))))


@cache
def _spellings() -> Mapping[str, str]:
    """Every spelling of each term, by its letters and digits; no value is the default repertoire."""
    sets = value_terms().character_sets
    return {
        _letters(spelling): term for spelling, term in ({term: term for term in sets.terms} | sets.spellings).items()
    } | {"": ""}


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.upper()))


def readings(value: bytes, encodings: tuple[str, ...]) -> tuple[str, ...]:
    """The text of a value, and its text as UTF-8 where that differs: some files declare another character set."""
    declared = decode(value, encodings)
    try:
        meant = value.decode()
    except UnicodeError:
        return (declared,)
    return (declared,) if meant == declared else (declared, meant)


def decode(value: bytes, encodings: tuple[str, ...]) -> str:
    """The text of a value; bytes that the character set does not allow are read as Latin-1, so that nothing hides."""
    if value.isascii() and b"\x1b" not in value:
        return value.decode("ascii")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return str(decode_bytes(value, list(encodings), set(search_terms().letters.delimiters)))
    except (UnicodeError, Warning, LookupError):
        return value.decode("latin-1")


def encode_text(text: str, encodings: tuple[str, ...]) -> bytes | None:
    """The bytes of a text; `None` where the character set does not hold it."""
    if text.isascii():
        return text.encode("ascii")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoded = bytes(encode_string(text, list(encodings)))
    return encoded if decode(encoded, encodings) == text else None
