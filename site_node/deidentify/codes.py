"""Coded items: a code of a known scheme stays, with a meaning that the Standard gives it (PS3.3 section 8)."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache

from shared.protocol.words import WordRules
from site_node.dicom.elements import Elements, bytes_of

_CODE_VALUE, _SCHEME, _MEANING = 0x00080100, 0x00080102, 0x00080104
_LONGEST_MEANING = 64  # letters of an LO


def is_of_known_scheme(item: Elements, rules: WordRules) -> bool:
    """Whether an item is no code, or one of a scheme that the rules list: of its form, or of the Standard's tables."""
    scheme, code = _text(item, _SCHEME), _text(item, _CODE_VALUE)
    if not code:
        return not scheme or scheme in rules.schemes
    form = rules.scheme_forms.get(scheme)
    return form is not None and (form.fullmatch(code) is not None or (scheme, code) in _meanings())


def standing_values(item: Elements, may_leave: Callable[[str], bool]) -> Mapping[int, bytes]:
    """What stays of a code of a known scheme, by tag: the code, its scheme, and its meaning.

    A meaning that is neither the Standard's nor `may_leave` as a text gives way to the Standard's; where the Standard
    has none it is a text like any other, and not among the values here.
    """
    if _SCHEME not in item:
        return {}
    scheme, code, meaning = (_text(item, tag) for tag in (_SCHEME, _CODE_VALUE, _MEANING))
    values = {tag: text.encode() for tag, text in ((_SCHEME, scheme), (_CODE_VALUE, code)) if text}
    meanings = _meanings().get((scheme, code), ())
    if not meanings or may_leave(meaning):
        return values
    return {**values, _MEANING: (meaning if meaning in meanings else meanings[0]).encode()}


@cache
def _meanings() -> Mapping[tuple[str, str], list[str]]:
    """Each code of the tables of PS3.16, with those of its meanings that fit CodeMeaning in any character set."""
    from pydicom.sr.codedict import CONCEPTS  # large, and most files have no code

    meanings = defaultdict[tuple[str, str], list[str]](list)
    for scheme, concepts in CONCEPTS.items():
        for codes in concepts.values():
            for code, (meaning, _) in codes.items():
                known = meanings[scheme, code]
                if len(meaning) <= _LONGEST_MEANING and meaning.isascii():
                    known.append(meaning)
    return dict(meanings)


def _text(item: Elements, tag: int) -> str:
    return bytes_of(item, tag).decode("latin-1").strip(" \0")
