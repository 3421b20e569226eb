"""Whether a text read from a picture is a marker that may stay: side, projection, position, or one measure."""

import re
from functools import cache

from site_node.pixels.rules import Allowed

_SEPARATORS = re.compile(r"[\s.,:;/\\|+()\[\]\-_]+")
_NUMBER = re.compile(r"(\d{1,3}(?:[.,]\d{1,2})?)\s*([^\W\d_]+|°)")


def is_marker(text: str, allowed: Allowed) -> bool:
    """Whether `text`, of one box, is made of allowed words and at most one measure; an empty text is not."""
    rest, measures = _without_measures(text.upper(), allowed.units)
    words = [word for word in _SEPARATORS.split(rest) if word]
    if measures > 1 or not 0 < len(words) + measures <= allowed.most_words:
        return False
    if sum(len(word) == 1 for word in words) > 1:
        return False
    return all(word in allowed.letters or _is_glued(word, allowed) for word in words)


def is_doubtful(text: str, allowed: Allowed) -> bool:
    """Whether a marker may be a name or number as well: one word that is both, or nothing but a measure."""
    rest, _ = _without_measures(text.upper(), allowed.units)
    words = [word for word in _SEPARATORS.split(rest) if word]
    return not words or (len(words) == 1 and words[0] in allowed.doubtful)


def _without_measures(text: str, units: frozenset[str]) -> tuple[str, int]:
    """The text without its measures, and how many it had."""
    measures = [measure for measure in _NUMBER.finditer(text) if measure[2] in units]
    for measure in reversed(measures):
        text = f"{text[: measure.start()]} {text[measure.end() :]}"
    return text, len(measures)


def _is_glued(word: str, allowed: Allowed) -> bool:
    """Whether allowed words make up `word` to its end, after one letter at most."""
    return _is_split(word, allowed.words) or (word[:1] in allowed.letters and _is_split(word[1:], allowed.words))


@cache
def _is_split(word: str, words: frozenset[str]) -> bool:
    return word in words or any(word.startswith(first) and _is_split(word[len(first) :], words) for first in words)
