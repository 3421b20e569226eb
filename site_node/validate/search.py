"""The search for the source's identifiers in one text, number or run of bytes.

Words that the profile's lists know are no names, unless somebody in the sources bears them; those public everywhere
tell nothing even then. What is left of a text is searched for names however they are glued, cut or spelled.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from site_node.validate.characters import normal
from site_node.validate.conformance import Rules
from site_node.validate.finding import Finding
from site_node.validate.identifiers import Identifiers

_LONGEST_RUN = 4  # words that may make one identifier
_TIME = 6  # digits of a time of day
_WHOLE_DAY = 8  # digits
_NUMERIC, _LONGEST_NUMBER = 5, 40  # digits
_UID_LIKE = re.compile(r"\d+(?:\.\d+){2,}")
_TOKEN = re.compile(r"[^\W_]+")
_SHORT_NUMBER = re.compile(r"[0-9]{1,4}")
_WORDS = re.compile(r"\d+|[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|[A-Z]")
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"


class Kind(NamedTuple):
    """What a text is: names of devices and codes are searched less than descriptions."""

    is_code: bool = False
    is_description: bool = False
    of_device: bool = False


class Search:
    """What is searched for, and how; remembers results, since the files of a study repeat their texts. PHI."""

    def __init__(self, identifiers: Identifiers, rules: Rules) -> None:
        self.identifiers = identifiers
        self.own_numbers, self.own_days = _whole(identifiers.numbers), _whole(identifiers.days)
        self._rules = rules
        self._cache: dict[tuple[str, Kind], str] = {}
        self._borne = identifiers.inside | identifiers.words | identifiers.people
        self._borne_described = self._borne | identifiers.places
        self._written = {word.encode().lower() for word in _written(rules)}
        # A number must not be part of a longer one.
        forms = [
            rb"(?<![\d.])%b(?![\d.])" % value if value.isdigit() else re.escape(value)
            for value in sorted(identifiers.raw - self._written)
        ]
        self._pattern = re.compile(b"|".join(forms)) if forms else None

    def is_termed(self, keyword: str) -> bool:
        """Whether the Standard defines terms for an attribute that is no CS."""
        return keyword in self._rules.profile.vocabulary.rules.terms.attributes

    def in_text(self, text: str, kind: Kind) -> str:
        """The code of what a text holds; empty where it holds nothing."""
        key = (text, kind)
        if key not in self._cache:
            self._cache[key] = self._find(text, kind)
        return self._cache[key]

    def in_number(self, text: str, *, is_short: bool) -> str:
        """The code of what a number is; one of six digits may be a date by chance where it `is_short`."""
        whole = re.sub(r"\.0*$", "", text.strip(" \0+-"))
        if not {whole, whole.lstrip("0"), "" if "." in text else normal(text)}.isdisjoint(self.identifiers.numbers):
            return "residual-identifier"
        is_day = whole in self.identifiers.days and not (is_short and len(whole) <= _TIME)
        is_time = whole.isdecimal() and len(whole) > _WHOLE_DAY
        if is_day or (is_time and any(day in whole for day in self.identifiers.days if len(day) == _WHOLE_DAY)):
            return "residual-date"
        return ""

    def in_bytes(self, part: bytes) -> Iterator[Finding]:
        """Findings in bytes outside the pixel data, whatever the elements say."""
        low = part.lower()
        if self._pattern is not None and any(not self._in_public(match) for match in self._pattern.finditer(low)):
            yield Finding(code="residual-bytes")
        if self._holds_uid(low.decode("latin-1")):
            yield Finding(code="residual-uid")

    def _find(self, text: str, kind: Kind) -> str:
        vocabulary = self._rules.profile.vocabulary
        if kind.of_device and text.strip(" \0").casefold() in vocabulary.devices:
            return ""
        codes = (self._find_names(part, kind) for part in self._not_public(text, kind))
        return next(filter(None, codes), "residual-uid" if self._holds_uid(text) else "")

    def _find_names(self, text: str, kind: Kind) -> str:
        """The code of a name in text without public words."""
        identifiers, folded = self.identifiers, normal(text)
        words = words_of(text)
        sizes = range(1, _LONGEST_RUN + 1)
        runs = {"".join(words[at : at + size]) for size in sizes for at in range(len(words) - size + 1)}
        if any(form in folded for form in identifiers.inside) or runs & identifiers.words:
            return "residual-identifier"
        others = identifiers.people | identifiers.derived | (identifiers.places if kind.is_description else frozenset())
        is_named = runs & others or any(name in folded for name in identifiers.place_names)
        return "residual-other" if is_named else ""

    def _not_public(self, text: str, kind: Kind) -> list[str]:
        """The runs of tokens in a text that are no public words."""
        runs: list[list[str]] = [[]]
        for token in _TOKEN.findall(text):
            if self._is_public(token, kind):
                runs.append([])
            else:
                runs[-1].append(token)
        return [" ".join(run) for run in runs if run]

    def _is_public(self, token: str, kind: Kind) -> bool:
        """Whether a token tells nothing: a short number, a technical name, public words that nobody here bears.

        Single letters may spell a name, and stay.
        """
        look, vocabulary = self._rules.look, self._rules.profile.vocabulary
        is_term = kind.is_code and token.casefold() in vocabulary.rules.terms.coded
        if is_term or _SHORT_NUMBER.fullmatch(token) or look.is_form(token):
            return True
        is_whole = token.isalpha() and look.is_public(token, in_code=kind.is_code)
        parts = [token] if is_whole else [part for part in words_of(token) if not _SHORT_NUMBER.fullmatch(part)]
        if any(len(part) == 1 or not look.is_public(part, in_code=kind.is_code) for part in parts):
            return False
        names = {normal(part) for part in parts} - vocabulary.known_everywhere
        if kind.is_code:
            names -= vocabulary.rules.terms.coded
        return names.isdisjoint(self._borne_described if kind.is_description else self._borne)

    def _in_public(self, match: re.Match[bytes]) -> bool:
        """Whether bytes are part of a longer word that is public, or a word that is public everywhere."""
        text, (start, end) = match.string, match.span()
        start, end = len(text[:start].rstrip(_LETTERS)), len(text) - len(text[end:].lstrip(_LETTERS))
        word = text[start:end].decode("latin-1")
        is_longer = end - start > len(match[0]) and self._rules.look.is_public(word, in_code=True)
        return is_longer or word in self._rules.profile.vocabulary.known_everywhere

    def _holds_uid(self, text: str) -> bool:
        """Whether a text holds one of the source's UIDs, and not as part of a longer one."""
        return not self.identifiers.uids.isdisjoint(_UID_LIKE.findall(text))


def _whole(forms: frozenset[str]) -> frozenset[int]:
    """The forms of five digits or more that are digits only, to compare numbers with."""
    digits = (form.lstrip("0") for form in forms if form.isascii() and form.isdecimal())
    return frozenset(int(form) for form in digits if _NUMERIC <= len(form) <= _LONGEST_NUMBER)


def words_of(text: str) -> list[str]:
    """The words of a text in normal form; signs, digits beside letters and a change to upper case separate words."""
    unmarked = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return [normal(word) for word in _WORDS.findall(unmarked)]


def _written(rules: Rules) -> Iterator[str]:
    """The words that the program itself writes."""
    profile = rules.profile
    texts = (profile.method, profile.private_creator, profile.project, rules.site_id, *profile.claims.meanings.values())
    for text in texts:
        yield from text.split()
    yield "modified"
