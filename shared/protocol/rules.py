"""The rows of a de-identification table: an attribute by tag number, and what happens to it."""

import csv
from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from shared.errors.protocol import ProtocolInvalid
from shared.frozen import Frozen
from shared.protocol.vr import VRS


class Action(StrEnum):
    """What happens to an attribute, at every depth. Where Type 1 requires a value, an emptied one becomes a dummy."""

    KEEP = "keep"  # copied; its form is checked, texts keep public words and measures only, sequences are walked
    CLEAN = "clean"  # a description: as `keep`, and the profile says that it cleaned descriptions
    DEVICE = "device"  # a device's name or number as declared, unless it holds a name or number of the headers
    EMPTY = "empty"
    REMOVE = "remove"
    SHIFT = "shift"  # every date in it goes back by the patient's shift; times stay
    BIRTH = "birth"  # shifted too, but emptied where, with StudyDate, it would reveal an age over 89
    UID = "uid"  # mapped, unless the Standard registers it
    PATIENT = "patient"  # the patient's pseudonym
    ACCESSION = "accession"  # a keyed number
    AGE = "age"  # over 89 years becomes 090Y (45 CFR 164.514(b)(2)(i)(C))
    WRITE = "write"  # dropped, and written anew by the program


PROSE = frozenset({"ST", "LT", "UT", "UC"})
FREE_TEXT = PROSE | {"UR", "PN", "UN", "AE"}
COPY_ACTIONS = frozenset({Action.KEEP, Action.CLEAN, Action.DEVICE})
DROP_ACTIONS = frozenset({Action.REMOVE, Action.WRITE})


class Rule(Frozen):
    """One row of the table."""

    tag: int = Field(ge=0x00080000, le=0xFFFFFFFF)
    keyword: str
    vrs: frozenset[str]  # more than one where PS3.6 leaves a choice ("US or SS")
    action: Action
    required: frozenset[str] = frozenset()
    multiplicity: str = ""  # as PS3.6 writes it, of a private element; of others PS3.6 says it
    source: str


def read_rules(text: str, *, file: str) -> tuple[Rule, ...]:
    """The rows of a table in order of tag; raises `ProtocolInvalid` with the line of the first wrong one."""
    rules: dict[int, Rule] = {}
    for number, row in rows_of(text):
        rule = _rule(row, file=file, line=number)
        if rule.tag in rules:
            raise ProtocolInvalid(file=file, problem=f"line {number} names a tag again")
        rules[rule.tag] = rule
    if not rules:
        raise ProtocolInvalid(file=file, problem="it holds no rows")
    return tuple(rules[tag] for tag in sorted(rules))


def rows_of(text: str) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV table with their line numbers; leading lines that begin with `#` are about the file."""
    lines = text.splitlines()
    skipped = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return list(enumerate(csv.DictReader(lines[skipped:]), start=skipped + 2))


def _rule(row: Mapping[str, str], *, file: str, line: int) -> Rule:
    try:
        vrs = frozenset(row["vr"].split(" or "))
        rule = Rule(
            tag=int(row["tag"], 16),
            keyword=row["keyword"],
            vrs=vrs,
            action=Action(row["action"]),
            required=frozenset(row["required"].split()),
            source=row["source"],
        )
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ProtocolInvalid(file=file, problem=f"line {line} has an unknown action or is malformed") from error
    if not vrs <= VRS:
        raise ProtocolInvalid(file=file, problem=f"line {line} has an unknown value representation")
    if vrs & (FREE_TEXT if rule.action is not Action.CLEAN else FREE_TEXT - PROSE) and rule.action in COPY_ACTIONS:
        raise ProtocolInvalid(file=file, problem=f"line {line} copies free text or a name")
    return rule
