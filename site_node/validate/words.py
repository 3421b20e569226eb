"""The first look at a kept text: is every word, number and sign of it one that the profile's lists name?

Independent of `site_node.deidentify` on purpose: this cuts a text by one pattern, in which a measure with its unit is a
piece of its own, and judges each piece and each pair of neighbours. The lists are shared (`shared.protocol.words`).
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from shared.protocol.words import Words, unmarked

WORD, NUMBER = "word-not-public", "number-in-text"  # codes of findings
LINES = frozenset({"ST", "LT", "UT"})  # representations of one value, which may have lines
KEPT = frozenset({"CS", "SH", "LO", "UC"}) | LINES
_MOST_GLUED = 3
_SHORTEST, _SMALL = 3, 2  # letters of a word, and digits of a number, that are written together
_LONGEST = 64  # letters of a token that is a word and a number
_CASES = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|[A-Z]")
_JOINED = re.compile(r"[/._:-]")
_ORDINAL = re.compile(r"[0-9](?:st|nd|rd|th)")
_DIGITS = frozenset("0123456789")


class _Piece(NamedTuple):
    kind: str  # measure, decimal, integer, mixed, letters
    word: str  # its letters, folded: of a measure its unit
    numbers: tuple[float, ...]
    is_exact: bool  # a measure whose unit cannot be an initial or the next word
    start: int
    end: int

    @property
    def is_bare(self) -> bool:
        """Whether it is a number without unit."""
        return self.kind in {"integer", "decimal"}

    @property
    def is_loose(self) -> bool:
        """Whether it has numbers to which the next word may belong."""
        return bool(self.numbers) and not self.is_exact


class TextLook:
    """Judges texts by one profile's lists and remembers the results: the files of a study repeat their texts. PHI.

    `accepted` are words that the site lets pass besides; a common surname among them does not count.
    """

    def __init__(self, words: Words, accepted: frozenset[str] = frozenset()) -> None:
        self._words = words
        self._in_text = words.in_text | (accepted - words.surnames) if accepted else words.in_text
        self._pattern = _pattern_of(words)
        self._known: dict[tuple[str, str, bool], str] = {}

    def code_of(self, text: str, vr: str, *, of_device: bool = False) -> str:
        """The code of what no list names in a text; empty where all is known.

        Args:
            text: the whole value, with its padding.
            vr: its representation; in `CS` the Standard's defined terms are known besides.
            of_device: whether it names a maker or model, whose list is known besides.
        """
        key = (text, vr, of_device)
        if key not in self._known:
            values = [text] if vr in LINES else text.split("\\")
            self._known[key] = next(filter(None, (self._judge(value, vr, of_device) for value in values)), "")
        return self._known[key]

    def is_public(self, word: str, *, in_code: bool) -> bool:
        """Whether a run of letters is a word of the lists, or made of two or three of them."""
        listed = self._words.in_codes if in_code else self._in_text
        folded, plain = word.casefold(), unmarked(word)
        if len(plain) == 1:
            return plain in self._words.rules.letters.single or (in_code and plain in listed)
        return any(form in listed or self._is_glued(form, _MOST_GLUED) for form in (folded, plain))

    def is_form(self, token: str) -> bool:
        """Whether letters with digits make a technical name, such as a kernel."""
        has_digit = any(letter in _DIGITS for letter in token)
        return has_digit and self._words.rules.form.fullmatch(token.casefold()) is not None

    def _judge(self, text: str, vr: str, of_device: bool) -> str:
        text = unicodedata.normalize("NFC", text).strip(" \0")
        if of_device and text.casefold() in self._words.devices:
            return ""
        signs = self._words.rules.letters.signs + (" \r\n\t" if vr in LINES else " ")
        pieces: list[_Piece] = []
        for match in self._pattern.finditer(text):
            if match["sign"]:
                if match["sign"] not in signs:
                    return WORD
                continue
            if vr == "CS" and match[0].casefold() in self._words.rules.terms.coded:
                pieces.append(_Piece("letters", match[0].casefold(), (), False, *match.span()))
                continue
            pieces.append(_piece(match))
            code = self._judge_piece(match[0], pieces[-1], in_code=vr == "CS")
            if code:
                return code
        return NUMBER if any(self._is_dated(*pair, text) for pair in pairwise(pieces)) else ""

    def _judge_piece(self, text: str, piece: _Piece, *, in_code: bool) -> str:
        if piece.kind != "letters":
            return "" if self._is_number(text, piece, in_code=in_code) else NUMBER
        return "" if self._is_word(text, in_code=in_code) else WORD

    def _is_word(self, text: str, *, in_code: bool) -> bool:
        """Whether letters are a public word, or several that differ in case, such as `ChestAbd`."""
        parts = [part.casefold() for part in _CASES.findall(text)]
        return self.is_public(text, in_code=in_code) or (bool(parts) and self._words.glued.issuperset(parts))

    def _is_number(self, text: str, piece: _Piece, *, in_code: bool) -> bool:
        """Whether a piece with digits has a form in which it may leave."""
        rules = self._words.rules
        if any(letter.isalnum() and not letter.isalpha() and letter not in _DIGITS for letter in text):
            return False
        if piece.kind in {"decimal", "measure"}:
            return True
        if piece.kind == "integer":
            return len(text) <= rules.numbers.digits
        return self.is_form(text) or any(
            self._is_numbered(word, number, in_code=in_code)
            for at in range(1, min(len(text), _LONGEST))
            for word, number in ((text[:at], text[at:]), (text[at:], text[:at]))
        )

    def _is_numbered(self, word: str, number: str, *, in_code: bool) -> bool:
        """Whether a word may be written together with this: a form, a measure or a small number, but no age or date."""
        if len(word) < _SHORTEST or not word.isalpha() or not self._is_word(word, in_code=in_code):
            return False
        match, numbers = self._pattern.fullmatch(number), self._words.rules.numbers
        if self.is_form(number) or (match is not None and match["measure"]):
            return True
        folded = word.casefold()
        if not (number.isascii() and number.isdigit()) or len(number) > _SMALL:
            return False
        is_dated = folded in numbers.months or folded in numbers.markers
        return not is_dated and (folded not in numbers.ages or int(number) <= numbers.oldest)

    def _is_dated(self, first: _Piece, second: _Piece, text: str) -> bool:
        """Whether two neighbours look like part of a date, a telephone number, an identifier or an age over 89."""
        numbers = self._words.rules.numbers
        if first.is_bare and second.is_bare:
            return True
        if first.is_bare and second.kind == "measure":
            is_joined = _JOINED.fullmatch(text[first.end : second.start]) is not None
            return is_joined or second.numbers[0] >= 10**numbers.digits
        if second.is_bare and first.word in numbers.markers:
            return True
        return any(
            (word in numbers.months and (number.is_loose or _ORDINAL.fullmatch(number.word)))
            or (word in numbers.ages and number.is_loose and self._is_old(number))
            for number, word in ((first, second.word), (second, first.word))
        )

    def _is_old(self, piece: _Piece) -> bool:
        return any(number > self._words.rules.numbers.oldest for number in piece.numbers)

    def _is_glued(self, word: str, most: int) -> bool:
        glued = self._words.glued
        return word in glued or (
            most > 1
            and any(word[:at] in glued and self._is_glued(word[at:], most - 1) for at in range(3, len(word) - 2))
        )


def _pattern_of(words: Words) -> re.Pattern[str]:
    """A pattern that matches the pieces of a text one after another, and between them each sign."""
    numbers, letter = words.rules.numbers, r"(?:[^\W_]|[\u0300-\u036f])"
    units = "|".join(re.escape(unit) for unit in sorted(numbers.units, key=len, reverse=True))
    number = rf"[0-9]{{1,{numbers.digits_measured}}}(?:[.,][0-9]{{1,{numbers.decimals_measured}}})?"
    initials = "".join(unit for unit in numbers.units if len(unit) == 1 and unit.isalpha())
    joint = rf"\s*[/x*_-]\s*(?!{number} [{initials}](?!{letter}))"  # `12/05 L` may be a day and a side
    measure = rf"(?P<numbers>{number}(?:{joint}{number})?)(?P<gap> ?)(?P<unit>(?:{units})(?:/(?:{units}))?)"
    whole = rf"(?:(?P<measure>{measure})|(?P<decimal>{numbers.decimals})|(?P<token>{letter}+))(?!{letter})"
    return re.compile(rf"{whole}|(?P<sign>.)", re.IGNORECASE | re.DOTALL)


def _piece(match: re.Match[str]) -> _Piece:
    if match["measure"]:
        numbers = tuple(_numbers(match["numbers"]))
        is_exact = not match["gap"] or len(match["unit"]) > 1 or not match["unit"].isalpha()
        return _Piece("measure", match["unit"].casefold(), numbers, is_exact, *match.span())
    text = match[0]
    if match["decimal"]:
        return _Piece("decimal", "", (float(text),), False, *match.span())
    if text.isascii() and text.isdigit():
        return _Piece("integer", "", (float(text),), False, *match.span())
    kind = "letters" if all(letter.isalpha() or unicodedata.combining(letter) for letter in text) else "mixed"
    return _Piece(kind, text.casefold(), (), False, *match.span())


def _numbers(text: str) -> Iterator[float]:
    return map(float, re.findall(r"[0-9]+(?:\.[0-9]+)?", text.replace(",", ".")))
