"""A de-identification profile: a closed table of attributes by tag number, and what goes with it.

The table is a CSV file whose rows name a tag, its keyword, its value representation, an action, the kinds of image in
which the attribute has Type 1 (`required`) and the source of the decision. **An attribute that no row names is
removed**, and an action that `Action` does not know refuses to load.
"""

import csv
import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Self

from pydantic import Field, field_validator

from shared.errors import ProtocolInvalid
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.protocol.parts import parse_part


class Action(StrEnum):
    """What happens to an attribute, at every depth. What a value is emptied to where Type 1 asks for one: a dummy."""

    KEEP = "keep"  # copied; its form is checked, text is searched for identifiers, sequences are walked
    CLEAN = "clean"  # a description: identifiers and all that the deny list matches are cut out
    EMPTY = "empty"
    REMOVE = "remove"
    SHIFT = "shift"  # every date in it goes back by the patient's shift; times stay
    UID = "uid"  # mapped, unless the Standard registers it
    PATIENT = "patient"  # the patient's pseudonym
    ACCESSION = "accession"  # a keyed number
    AGE = "age"  # over 89 years becomes 090Y (45 CFR 164.514(b)(2)(i)(C))
    WRITE = "write"  # dropped, and written anew by the program


FREE_TEXT = frozenset({"ST", "LT", "UT", "UC", "UR", "PN", "UN", "AE"})
COPYING = frozenset({Action.KEEP, Action.CLEAN})
GOING = frozenset({Action.REMOVE, Action.WRITE})


class Rule(Frozen):
    """One row of the table."""

    tag: int = Field(ge=0x00080000, le=0xFFFFFFFF)
    keyword: str
    vrs: frozenset[str]  # more than one where PS3.6 leaves a choice ("US or SS")
    action: Action
    required: frozenset[str] = frozenset()
    source: str


class Claims(Frozen):
    """Codes of PS3.16 CID 7050 for (0012,0064), by what was done."""

    always: tuple[str, ...] = Field(min_length=1)
    cleaned: str
    earlier: frozenset[str]
    meanings: dict[str, str]


class Quarantine(Frozen):
    """Objects that a person must see before they go on: the pixels may hold text."""

    sop_classes: frozenset[str]
    image_type: frozenset[str]
    conversion_type: frozenset[str]


class Text(Frozen):
    """What is cut out of descriptions besides the patient's own identifiers: regular expressions."""

    deny: tuple[str, ...]

    @field_validator("deny")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"`{pattern}` is no regular expression") from error
        return patterns


class _Options(Frozen):
    name: str
    edition: str
    source: str
    table: str  # file names beside the TOML file
    terms: str
    method: str = Field(max_length=64)  # LO, PS3.5 section 6.2
    uid_root: str = Field(pattern=r"[0-9.]+")
    private_creator: str = Field(max_length=64)
    project: str = Field(max_length=16)  # SH
    claims: Claims
    kinds: dict[str, str]  # SOP class -> short name
    quarantine: Quarantine
    text: Text


class Profile(_Options):
    """A whole profile, ready to be asked."""

    digest: Sha256  # of its files
    known_terms: frozenset[str]
    rules: tuple[Rule, ...] = Field(repr=False)

    @cached_property
    def by_tag(self) -> Mapping[int, Rule]:
        """The table, keyed by tag number."""
        return MappingProxyType({rule.tag: rule for rule in self.rules})

    def action(self, tag: int) -> Action:
        """What happens to an attribute; one that no row names is removed."""
        rule = self.by_tag.get(tag)
        return Action.REMOVE if rule is None else rule.action

    @classmethod
    def from_files(cls, files: Mapping[str, str], *, file: str) -> Self:
        """Build the profile whose options stand in `files[file]`.

        Args:
            files: the texts of the data folder's files, by name.
            file: the name of the TOML file.

        Raises:
            ProtocolInvalid: a file is missing, a key or action unknown, a row malformed or doubled.
        """
        options = parse_part(_text(files, file, named_in=file), _Options, file=file)
        table = _text(files, options.table, named_in=file)
        terms = _text(files, options.terms, named_in=file)
        used = {file: files[file], options.table: table, options.terms: terms}
        return cls(
            **options.model_dump(),
            digest=digest_of(used),
            known_terms=frozenset(
                word for line in terms.splitlines() if not line.startswith("#") for word in line.split()
            ),
            rules=read_rules(table, file=options.table),
        )


def digest_of(files: Mapping[str, str]) -> Sha256:
    """SHA-256 over the sorted lines `<SHA-256 of the file>  <name>`, as `sha256sum` prints them."""
    lines = (f"{hashlib.sha256(files[name].encode()).hexdigest()}  {name}\n" for name in sorted(files))
    return Sha256(hashlib.sha256("".join(lines).encode()).hexdigest())


def read_rules(text: str, *, file: str) -> tuple[Rule, ...]:
    """The rows of a table in order of tag; raises `ProtocolInvalid` with the line of the first that cannot be."""
    lines = text.splitlines()
    skipped = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    rules: dict[int, Rule] = {}
    for number, row in enumerate(csv.DictReader(lines[skipped:]), start=skipped + 2):
        rule = _rule(row, file=file, line=number)
        if rule.tag in rules:
            raise ProtocolInvalid(file=file, problem=f"line {number} names a tag again")
        rules[rule.tag] = rule
    if not rules:
        raise ProtocolInvalid(file=file, problem="it holds no rows")
    return tuple(rules[tag] for tag in sorted(rules))


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
    if rule.action in COPYING and vrs & FREE_TEXT:
        raise ProtocolInvalid(file=file, problem=f"line {line} copies free text or a name")
    return rule


def _text(files: Mapping[str, str], name: str, *, named_in: str) -> str:
    if name not in files:
        raise ProtocolInvalid(file=named_in, problem=f"there is no file {name}")
    return files[name]
