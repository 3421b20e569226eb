"""Coded items: scheme, value and meaning are the Standard's or another public one's (PS3.16 section 8)."""

import re
from bisect import bisect_left
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
    for item in _coded_items(part, charset).values():
        value, scheme, meaning = (item.get(tag, "") for tag in (VALUE, SCHEME, MEANING))
        value, meaning = ("" if text == dummy else text for text in (value, meaning))
        if not _is_public({**item, VALUE: value}, schemes):
            yield CODE, SCHEME if scheme not in schemes else VALUE
        code = look.code_of(meaning, "LO")
        if code and meaning.casefold() not in _meanings(scheme, value):
            yield code, MEANING


def with_public_codes(part: Part, schemes: Mapping[str, re.Pattern[str]], charset: tuple[str, ...]) -> Part:
    """A part of a source without the items of codes that are not public, the others numbered as they then follow."""
    unknown = {path for path, item in _coded_items(part, charset).items() if not _is_public(item, schemes)}
    if not unknown:
        return part
    numbers: defaultdict[Path, list[int]] = defaultdict(list)  # of the unknown items of each sequence
    for path in sorted(unknown):
        numbers[path[:-1]].append(path[-1])
    return tuple(
        element._replace(
            path=_renumbered(element.path, numbers),
            items=element.items - len(numbers.get((*element.path, element.tag), ())),
        )
        for element in part
        if not any(element.path[:end] in unknown for end in range(2, len(element.path) + 1, 2))
    )


def _renumbered(path: Path, unknown: Mapping[Path, list[int]]) -> Path:
    """A path whose item numbers do not count the unknown items before them."""
    steps: list[int] = []
    for place in range(0, len(path), 2):
        before = bisect_left(unknown.get(path[: place + 1], []), path[place + 1])
        steps += [path[place], path[place + 1] - before]
    return tuple(steps)


def _coded_items(part: Part, charset: tuple[str, ...]) -> Mapping[Path, Mapping[int, str]]:
    """The scheme, value and meaning of each item that has one of them."""
    items: defaultdict[Path, dict[int, str]] = defaultdict(dict)
    for element in part:
        if element.path and element.tag in {VALUE, SCHEME, MEANING}:
            items[element.path][element.tag] = text_of(element.raw, charset).strip(" \0")
    return items


def _is_public(item: Mapping[int, str], schemes: Mapping[str, re.Pattern[str]]) -> bool:
    """Whether an item has no code, or one of a public scheme in the form of its codes."""
    value, scheme = item.get(VALUE, ""), item.get(SCHEME, "")
    if not value and not scheme:
        return True
    is_known = scheme in schemes and (not value or schemes[scheme].fullmatch(value) is not None)
    return is_known or (scheme in schemes and (scheme, value) in _concepts())


def is_standard(path: Path, places: Mapping[tuple[Path, int], Element], charset: tuple[str, ...]) -> bool:
    """Whether the CodeMeaning of the item at a path is the Standard's for its code."""
    item = {
        tag: text_of(places[path, tag].raw, charset).strip(" \0")
        for tag in (VALUE, SCHEME, MEANING)
        if (path, tag) in places
    }
    return item[MEANING].casefold() in _meanings(item.get(SCHEME, ""), item.get(VALUE, ""))


@cache
def _concepts() -> Mapping[tuple[str, str], frozenset[str]]:
    """The meanings of every code of PS3.16 in folded case; loaded where one is not public by itself."""
    from pydicom.sr._concepts_dict import concepts

    meanings: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for scheme, names in concepts.items():
        for values in names.values():
            for value, (meaning, _) in values.items():
                meanings[scheme, value].add(meaning.casefold())
    return {code: frozenset(known) for code, known in meanings.items()}


def _meanings(scheme: str, value: str) -> frozenset[str]:
    if scheme in _SNOMED:
        from pydicom.sr._snomed_dict import mapping

        scheme, value = "SCT", mapping["SRT"].get(value, "")
    return _concepts().get((scheme, value), frozenset())
