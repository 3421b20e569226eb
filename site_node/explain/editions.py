"""What an edition of the protocol says, in statements that a home keeps, and what another edition changes of it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from pydantic import JsonValue

from shared.protocol.loader import Protocol
from shared.protocol.profile import Profile
from site_node.explain.protocol import doing
from site_node.home.editions import KeptEdition, Statements

_TABLES = {"rules", "safe", "vocabulary", "digest", "files"}
_NAMES = ("name", "label", "value", "rows")  # by the first of these a part of a list is called


def kept_edition(protocol: Protocol, begun_at: datetime) -> KeptEdition:
    """An edition as a home keeps it."""
    return KeptEdition(edition=protocol.named, begun_at=begun_at, statements=statements_of(protocol))


def statements_of(protocol: Protocol) -> Statements:
    """Everything that a protocol says, by part: each statement under the name of what it is about."""
    return {
        "criteria": dict(_flat(protocol.criteria.model_dump(mode="json"))),
        "de-identification": dict(_deidentification(protocol.profile)),
        "word lists": dict(_words(protocol.profile)),
        "clinical dictionary": dict(_flat(protocol.clinical.model_dump(mode="json"))),
        "cohort definition": dict(_flat(protocol.cohort.model_dump(mode="json"))),
    }


def changes(before: Statements, after: Statements) -> tuple[str, ...]:
    """A sentence for each statement that is new, another one, or there no more."""
    sentences = []
    for part in sorted({*before, *after}):
        old, new = before.get(part, {}), after.get(part, {})
        for name in sorted({*old, *new}):
            if name not in old:
                sentences.append(f"{part}: {name} is new: {new[name]}.")
            elif name not in new:
                sentences.append(f"{part}: {name} is there no more; it was: {old[name]}.")
            elif old[name] != new[name]:
                sentences.append(f"{part}: {name} was: {old[name]}; it is now: {new[name]}.")
    return tuple(sentences)


def _deidentification(profile: Profile) -> Iterator[tuple[str, str]]:
    yield from _flat(profile.model_dump(mode="json", exclude=_TABLES))
    for rule in profile.rules:
        yield f"({rule.tag >> 16:04X},{rule.tag & 0xFFFF:04X}) {rule.keyword}", doing(rule)
    for safe in profile.safe:
        yield f"({safe.group:04X},xx{safe.element:02X}) of {safe.creator}", f"kept ({safe.name})"


def _words(profile: Profile) -> Iterator[tuple[str, str]]:
    words = profile.vocabulary
    lists = {"public words": words.vocabulary, "device names": words.devices, "surnames": words.surnames}
    lists |= {"English words": words.prose, "imaging words": words.rules.reviewed.words}
    for name, listed in lists.items():
        yield name, _counted(listed)
    yield from _flat(words.rules.model_dump(mode="json", exclude={"reviewed"}))


def _counted(words: Iterable[str]) -> str:
    """How many, and a digest, by which another list of as many is told."""
    ordered = sorted(words)
    return f"{len(ordered)} (digest {hashlib.sha256(' '.join(ordered).encode()).hexdigest()[:8]})"


def _flat(value: JsonValue, name: str = "") -> Iterator[tuple[str, str]]:
    """The single values of a document under dotted names; the parts of lists are called as they name themselves."""
    parts: Mapping[str, JsonValue] = {}
    if isinstance(value, dict):
        parts = value
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        parts = {_name_of(part, number): part for number, part in enumerate(value, start=1)}
    if parts:
        for key, part in parts.items():
            yield from _flat(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield name, ", ".join(sorted(map(str, value))) or "none"
    else:
        yield name, "none" if value in (None, "", {}) else str(value)


def _name_of(part: JsonValue, number: int) -> str:
    named = (str(part[name]) for name in _NAMES if name in part) if isinstance(part, dict) else iter(())
    return next(named, str(number))
