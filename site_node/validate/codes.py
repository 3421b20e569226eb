"""Coded items: scheme, value and meaning are the Standard's or another public one's (PS3.16 section 8)."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

from site_node.validate.characters import text_of
from site_node.validate.elements import Element, Part, Path
from site_node.validate.words import TextLook

VALUE, SCHEME, MEANING = 0x00080100, 0x00080102, 0x00080104
CODE = "code-not-public"
_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})  # names of one scheme, whose codes PS3.16 maps to SCT


def check_codes(
    part: Part, schemes: Mapping[str, re.Pattern[str]], look: TextLook, charset: tuple[str, ...], dummy: str
) -> Iterator[tuple[str, int]]:
    """The code of a finding, and the tag, for each attribute of a coded item that is not public.

    Args:
        part: a top-level element with everything in its items.
        schemes: the form of its codes for each public scheme.
        look: what judges the meanings that the Standard does not have.
        charset: Python's names of the file's character sets.
        dummy: what stands for a value that was taken away.
    """
    items: defaultdict[Path, dict[int, str]] = defaultdict(dict)
    for element in part:
        if element.path and element.tag in {VALUE, SCHEME, MEANING}:
            text = text_of(element.raw, charset).strip(" \0")
            items[element.path][element.tag] = "" if text == dummy else text
    for item in items.values():
        value, scheme, meaning = (item.get(tag, "") for tag in (VALUE, SCHEME, MEANING))
        if (scheme or value) and scheme not in schemes:
            yield CODE, SCHEME
        elif value and not schemes[scheme].fullmatch(value):
            yield CODE, VALUE
        code = look.code_of(meaning, "LO")
        if code and meaning.casefold() != _meaning(scheme, value):
            yield code, MEANING


def is_standard(meaning: Element, part: Part, charset: tuple[str, ...]) -> bool:
    """Whether a CodeMeaning is the Standard's for the code beside it."""
    item = {element.tag: text_of(element.raw, charset).strip(" \0") for element in part if element.path == meaning.path}
    return item[MEANING].casefold() == _meaning(item.get(SCHEME, ""), item.get(VALUE, ""))


@cache
def _concepts() -> dict[tuple[str, str], str]:
    """The meaning of every code of PS3.16 in folded case; loaded only where the words of a meaning are not public."""
    from pydicom.sr._concepts_dict import concepts

    return {
        (scheme, value): meaning.casefold()
        for scheme, names in concepts.items()
        for values in names.values()
        for value, (meaning, _) in values.items()
    }


def _meaning(scheme: str, value: str) -> str | None:
    if scheme in _SNOMED:
        from pydicom.sr._snomed_dict import mapping

        scheme, value = "SCT", mapping["SRT"].get(value, "")
    return _concepts().get((scheme, value))
