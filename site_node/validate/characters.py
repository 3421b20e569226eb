"""Raw values as text, and the normal form in which texts are compared.

The normal form is compatibility-decomposed, without marks, case folded, letters and digits only. Which letters are
alike is shared data (`shared.protocol.search_terms`).
"""

import unicodedata
import warnings
from functools import lru_cache

from pydicom.charset import convert_encodings, decode_bytes, python_encoding

from shared.protocol.search_terms import search_terms
from site_node.validate.elements import Document
from site_node.validate.meant import charset_terms

CHARSET = 0x00080005
_UNKNOWN = ("latin-1",)


def charset_of(document: Document) -> tuple[str, ...]:
    """Python's names for the character sets that a file means, however it spells them; Latin-1 where none is known."""
    return _charset(document.first(CHARSET))


def is_charset(raw: bytes) -> bool:
    """Whether every value of SpecificCharacterSet is a defined term of PS3.3 section C.12.1.1.2."""
    return all(term.strip(" \0") in python_encoding for term in raw.decode("latin-1").split("\\"))


@lru_cache(maxsize=64)
def _charset(raw: bytes) -> tuple[str, ...]:
    terms = charset_terms(raw)
    if terms is None:
        return _UNKNOWN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(convert_encodings(list(terms)))


def text_of(raw: bytes, charset: tuple[str, ...]) -> str:
    """A raw value as text; what its character set does not allow is read as Latin-1, so that nothing hides."""
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return str(decode_bytes(raw, list(charset), set(search_terms().letters.delimiters)))
    except (UnicodeError, Warning, LookupError):
        return raw.decode("latin-1")


def normal(text: str) -> str:
    """Letters and digits of a text, decomposed, without marks, case folded."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(search_terms().letters.to_plain)
    return "".join(letter for letter in folded if letter.isalnum())
