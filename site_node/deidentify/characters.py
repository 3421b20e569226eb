"""Character sets: from SpecificCharacterSet to text, for searching only; what is kept is copied undecoded."""

import warnings
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding

from shared.protocol.search_terms import search_terms
from site_node.deidentify.reasons import unsupported


@lru_cache(maxsize=256)
def encodings_of(specific_character_set: bytes) -> tuple[str, ...]:
    """Python's names of the encodings that (0008,0005) lists; raises `DicomUnsupported` for an undefined term."""
    terms = [term.strip(" \0") for term in specific_character_set.decode("latin-1").split("\\")]
    if any(term not in python_encoding for term in terms if term):
        raise unsupported("unknown-character-set", "SpecificCharacterSet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(terms if any(terms) else [""]))


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
