"""Counts in sentences: the number, its noun in the singular or plural, and the verb that agrees with it."""

import re
from types import MappingProxyType

_VERBS = MappingProxyType({"is": "are", "was": "were", "has": "have", "goes": "go"})


def plural(noun: str) -> str:
    """The plural of a regular English noun, of which only the last word changes: study, box, new image."""
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def counted(number: int, noun: str, verb: str = "") -> str:
    """`1 study`, `0 studies`; with the verb of the singular (`waits`) also `1 study waits`, `2 studies wait`."""
    if number != 1:
        noun, verb = plural(noun), _VERBS.get(verb, verb.removesuffix("s"))
    return f"{number} {noun} {verb}".rstrip()
