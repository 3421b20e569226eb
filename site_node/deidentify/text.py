"""What is left of a kept text: words that are public, and numbers in the form of a measure.

Each token of a text is judged by itself, then by those beside it. What may not leave is dropped; the rest stays in
order. The lists and figures are the profile's (`shared.protocol.words`); the reading behind the rule is k-anonymity
(Sweeney 2002), applied to words.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from shared.protocol.accepted import is_word
from shared.protocol.words import Words, unmarked
from site_node.deidentify.identifiers import Identifiers, normal
from site_node.deidentify.tokens import Kind, Token, token_pattern, tokens_of
from site_node.study import DroppedWord

_CASED = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # `ChestAbd`
_SHORTEST_PART = 3  # letters of a word within another
_MOST_PARTS = 3
_LONGEST_WORD = 40
_IN_ADDRESSES = frozenset({".", "@", "://"})  # of hosts and mail
_DIGITS_JOINED = 2  # of a number beside a word: `Thorax1`, `2Phase`
_NO_LIMIT = 1 << 30
_DAY = re.compile(r"[0-9](?:st|nd|rd|th)", re.IGNORECASE)
_AMOUNT = re.compile(r"[0-9]*[.,]?[0-9]+")


class TextRule:
    """The rule on the texts of one study.

    Args:
        words: the profile's lists.
        identifiers: what the study's files name.
        accepted: words, in folded case, that the site lets pass besides; a common surname among them does not count.
    """

    def __init__(self, words: Words, identifiers: Identifiers, accepted: frozenset[str] = frozenset()) -> None:
        self.used: set[str] = set()  # accepted words so far
        self._dropped: set[str] = set()  # tokens of texts so far. PHI
        self._words = words
        self._accepted = accepted - words.in_text - words.surnames
        self._rules = words.rules
        longest = words.rules.numbers.digits
        self._numbered = {term for term in words.rules.terms.coded if term.isdecimal() and len(term) > longest}
        self._pattern = token_pattern(words.rules.numbers)
        self._in_text = words.in_text | self._accepted if self._accepted else words.in_text
        self._names = identifiers.names - words.known_everywhere
        self._identifiers = identifiers
        self._telling = identifiers.telling() - words.known_everywhere

    def code(self, value: str) -> str:
        """A value of a coded attribute (CS) if all of it may leave, else nothing."""
        tokens, keep = self._judged(value, self._words.in_codes)
        return value if all(keep) and value == self._joined(value, tokens, keep) else ""

    def remains(self, value: str, *, longest: int = _NO_LIMIT, prose: bool = False, termed: bool = False) -> str:
        """What is left of a value; empty where that is signs only.

        Args:
            value: one value of an attribute.
            longest: letters that its representation allows; tokens behind them are cut off.
            prose: whether it may have lines (ST, LT, UT).
            termed: whether the Standard defines terms for the attribute.
        """
        tokens, keep = self._judged(value, self._words.in_codes if termed else self._in_text)
        left = self._joined(value, tokens, keep, longest=longest, prose=prose) if any(keep) else ""
        if left == value:
            return left
        return self.remains(left, longest=longest, prose=prose, termed=termed)  # what is left may make a date or number

    def leaves(self, value: str) -> bool:
        """Whether all of a text may leave."""
        return self.remains(value) == value

    def declared(self, value: str) -> str:
        """The name or number of a device as it is, unless it holds a name or number of somebody or somewhere."""
        folded = normal(value)
        words = {normal(token.text) for token in tokens_of(value, self._pattern)}
        held = not words.isdisjoint(self._names) or any(form in folded for form in self._telling)
        return "" if held or not self._signs(value, prose=False).isprintable() else value

    def maker(self, value: str, *, longest: int = _NO_LIMIT) -> str:
        """The name of a maker or model if it is public as a whole, else what is left of it."""
        return value if value.strip(" \0").casefold() in self._words.devices else self.remains(value, longest=longest)

    def unlisted(self) -> frozenset[DroppedWord]:
        """The dropped words that a person may accept: in no list, no common surname, no name in the headers."""
        words = {DroppedWord(unmarked(token), normal(token)) for token in self._dropped}
        closed = (self._in_text, self._words.surnames)
        return frozenset(
            each
            for each in words
            if is_word(each.word)
            and each.form not in self._identifiers.names
            and not any(each.word in listed for listed in closed)
        )

    def _judged(self, value: str, allowed: frozenset[str]) -> tuple[list[Token], list[bool]]:
        """The tokens of a value, and whether each may leave."""
        tokens = list(tokens_of(value, self._pattern))
        if allowed is self._words.in_codes:  # numbers of standards: `ISO_10918_1`
            tokens = [token._replace(kind=Kind.WORD) if token.text in self._numbered else token for token in tokens]
        keep = [self._may_leave(token, allowed) for token in tokens]
        self._judge_numbers(value, tokens, keep)
        self._drop_own_numbers(tokens, keep)
        self._judge_neighbours(value, tokens, keep)
        if allowed is self._in_text:
            self._dropped.update(token.text for token, kept in zip(tokens, keep, strict=True) if not kept)
        return tokens, keep

    def _may_leave(self, token: Token, allowed: frozenset[str]) -> bool:
        """Whether a token may leave by itself, whatever stands beside it."""
        if len(token.text) > _LONGEST_WORD:
            return False
        folded, leaves = token.text.casefold(), True
        match token.kind:
            case Kind.WORD:
                leaves = self._is_public(token.text, allowed)
            case Kind.LETTER:
                leaves = folded in (allowed if allowed is self._words.in_codes else self._rules.letters.single)
            case Kind.NUMBER:
                whole = token.text.isdecimal() and len(token.text) <= self._rules.numbers.digits
                leaves = whole or self._rules.decimal.fullmatch(token.text) is not None
                leaves &= token.text not in self._identifiers.day_months
            case Kind.NAME:
                leaves = folded in allowed or self._is_form(token.text) or self._is_joined(token.text, allowed)
            case Kind.MEASURE:
                pass
        return leaves

    def _is_form(self, name: str) -> bool:
        return self._rules.form.fullmatch(name.casefold()) is not None

    def _is_joined(self, name: str, allowed: frozenset[str]) -> bool:
        """Whether a word is written together with a form, a measure or a short number: `T1Pre`, `Lung2`."""
        places = (at for at in range(1, len(name)) if name[at - 1].isalpha() != name[at].isalpha())
        for first, second in ((name[:at], name[at:]) for at in places):
            for word, other in ((first, second), (second, first)):
                if self._is_exact(other) and self._is_long_word(word, allowed) and not self._tells(word, other):
                    return True
        return False

    def _tells(self, word: str, number: str) -> bool:
        """Whether a word makes a number an age over 89, a day or somebody's: `age92`, `May19`, `patient12`."""
        numbers, folded = self._rules.numbers, word.casefold()
        if not number.isdecimal():
            return False
        is_old = folded in numbers.ages and int(number) > numbers.oldest
        return is_old or folded in numbers.months or folded in numbers.markers

    def _is_long_word(self, word: str, allowed: frozenset[str]) -> bool:
        return len(word) >= _SHORTEST_PART and word.isalpha() and self._is_public(word, allowed)

    def _is_exact(self, text: str) -> bool:
        """Whether all of a text is one measure, has one of the forms, or is a short number."""
        is_short = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_JOINED
        return is_short or self._is_form(text) or self._is_measure(text)

    def _is_measure(self, text: str) -> bool:
        match = self._pattern.fullmatch(text)
        return match is not None and match.lastgroup == Kind.MEASURE.name

    def _is_public(self, word: str, allowed: frozenset[str]) -> bool:
        """Whether a word is in the lists, or made of such words, and is no name of somebody in the headers."""
        if normal(word) in self._names:
            return False
        forms = {word.casefold(), unmarked(word)}
        if allowed is self._in_text:
            self.used |= forms & self._accepted
        if not forms.isdisjoint(allowed) or any(self._is_glued(form, _MOST_PARTS) for form in forms):
            return True
        parts = _CASED.findall(word)
        return len(parts) > 1 and "".join(parts) == word and all(self._is_part(part.casefold()) for part in parts)

    def _is_glued(self, word: str, most: int) -> bool:
        """Whether a word is at most `most` public words written as one (`chestabdpel`)."""
        if self._is_part(word):
            return True
        places = range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1) if most > 1 else ()
        return any(self._is_part(word[:at]) and self._is_glued(word[at:], most - 1) for at in places)

    def _is_part(self, word: str) -> bool:
        return word in self._words.glued and word not in self._names

    def _judge_numbers(self, value: str, tokens: Sequence[Token], keep: list[bool]) -> None:
        """Drop numbers that the token beside them makes a date, an age, a telephone number or somebody's."""
        for place, (left, right) in enumerate(pairwise(tokens)):
            between = value[left.end : right.start]
            if self._are_parts(left, right):
                keep[place] = keep[place + 1] = False
            elif self._is_somebodys(right, left, between):
                keep[place + 1] = False
            elif self._is_somebodys(left, right, between):
                keep[place] = False

    def _are_parts(self, left: Token, right: Token) -> bool:
        """Whether two tokens are parts of one date or number, such as `3 May`, `447 3921 ms`."""
        if left.kind is Kind.NUMBER and right.kind is Kind.MEASURE:
            return bool(_amounts(right)[0] >= 10**self._rules.numbers.digits)
        if any(map(self._is_month, (left, right))):
            return all(self._is_month(token) or _is_loose(token) or _is_day(token) for token in (left, right))
        return left.kind is right.kind is Kind.NUMBER

    def _is_somebodys(self, number: Token, other: Token, between: str) -> bool:
        """Whether the token beside a number says that it is a day, an old age or somebody's number."""
        numbers, word = self._rules.numbers, other.text.casefold()
        if not _is_loose(number):
            return False
        is_old = word in numbers.ages and any(amount > numbers.oldest for amount in _amounts(number))
        if number.kind is Kind.MEASURE:
            return is_old
        is_marked = word in numbers.markers and other.start < number.start
        is_part = other.kind is Kind.NAME and not between.isspace()
        return is_marked or is_old or (is_part and (len(number.text) > 1 or other.text[0].isdigit()))

    def _is_month(self, token: Token) -> bool:
        return token.text.casefold() in self._rules.numbers.months

    def _drop_own_numbers(self, tokens: Sequence[Token], keep: list[bool]) -> None:
        """Drop the tokens that together are a number of the patient."""
        if all(token.kind is Kind.WORD for token in tokens):
            return
        letters = [(letter, place) for place, token in enumerate(tokens) for letter in normal(token.text)]
        folded = "".join(letter for letter, _ in letters)
        for number in self._identifiers.numbers:
            at = folded.find(number)
            while at >= 0:
                for _, place in letters[at : at + len(number)]:
                    keep[place] = False
                at = folded.find(number, at + 1)

    def _judge_neighbours(self, value: str, tokens: Sequence[Token], keep: list[bool]) -> None:
        """Drop what may belong to a dropped word: a letter, a number, a title before it, the rest of an address."""
        places = [at for at, kept in enumerate(keep) if not kept and tokens[at].kind is not Kind.NUMBER]
        while places:
            place = places.pop()
            for at in (place - 1, place + 1):
                if not 0 <= at < len(tokens) or not keep[at]:
                    continue
                between = value[tokens[min(at, place)].end : tokens[max(at, place)].start]
                if self._belongs(tokens[at], between, is_before=at < place):
                    keep[at] = False
                    if tokens[at].kind is not Kind.NUMBER:
                        places.append(at)

    def _belongs(self, token: Token, between: str, *, is_before: bool) -> bool:
        """Whether a token beside a dropped word, with these signs `between` them, may be a part of it."""
        if token.kind is Kind.LETTER or (token.kind is Kind.NUMBER and token.text.isdecimal()):
            return True
        if is_before and token.text.casefold() in self._rules.letters.titles:
            return True
        return between in _IN_ADDRESSES or (between == "-" and token.kind is Kind.NAME)

    def _joined(
        self,
        value: str,
        tokens: Sequence[Token],
        keep: Sequence[bool],
        *,
        longest: int = _NO_LIMIT,
        prose: bool = False,
    ) -> str:
        """The kept tokens with what stood between them; a space where something was dropped."""
        text, end, whole = "", 0, True  # whether nothing was dropped since the last kept token
        for token, kept in zip(tokens, keep, strict=True):
            between = self._signs(value[end : token.start], prose=prose)
            if kept:
                if not whole:
                    opening = between.rpartition(" ")[2] if " " in between else ""
                    between = f" {opening}" if text else opening
                if len(text) + len(between) + len(token.text) > longest:
                    return text
                text += between + token.text
            elif whole and text and " " in between:
                text += between.partition(" ")[0]  # a closing bracket
            end, whole = token.end, kept
        return (text + self._signs(value[end:], prose=prose))[:longest] if whole else text

    def _signs(self, between: str, *, prose: bool) -> str:
        """Signs as they are; all that is no sign of the list is a space."""
        allowed = self._rules.letters.signs
        return "".join(sign if sign in allowed or (prose and sign in "\r\n\t\f") else " " for sign in between)


def _is_loose(token: Token) -> bool:
    """Whether a token is a number, or a measure whose unit may be an initial or the next word's: `12 l`."""
    unit = token.text[-2:]
    return token.kind is Kind.NUMBER or (token.kind is Kind.MEASURE and unit[0] == " " and unit[1].isalpha())


def _is_day(token: Token) -> bool:
    """Whether a token is a number as days of a month are counted: `5th`."""
    return _DAY.fullmatch(token.text) is not None


def _amounts(token: Token) -> list[float]:
    """The numbers in a number or measure."""
    return [float(amount.replace(",", ".")) for amount in _AMOUNT.findall(token.text)]
