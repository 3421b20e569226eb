"""A de-identification profile: a closed table of attributes by tag number, and the options that belong to it.

The table is a CSV file whose rows name a tag, its keyword, its value representation, an action, the kinds of image in
which the attribute has Type 1 (`required`) and the source of the decision. **An attribute that no row names is
removed**; a profile with an unknown action, option, code or kind refuses to load.
"""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Self

from pydantic import Field, model_validator

from shared.errors.protocol import ProtocolInvalid
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.protocol.parts import parse_part
from shared.protocol.private import SafePrivate, read_safe_private
from shared.protocol.rules import COPY_ACTIONS, DROP_ACTIONS, FREE_TEXT, Action, Rule, read_rules
from shared.protocol.words import DEVICES, ENGLISH, SURNAMES, VOCABULARY, Words

__all__ = ["COPY_ACTIONS", "DROP_ACTIONS", "FREE_TEXT", "Action", "Profile", "Rule", "digest_of", "read_rules"]


# PS3.16 CID 7050 "De-identification Method": the options of PS3.15 Annex E.
METHOD_CODES = frozenset(str(code) for code in range(113100, 113113))
_ABSENT: Mapping[int, Rule] = MappingProxyType({})


class Claims(Frozen):
    """Codes of PS3.16 CID 7050 for (0012,0064), by the action that earns them. An empty code is never claimed."""

    always: tuple[str, ...] = Field(min_length=1)
    cleaned: str = ""  # where a description went through the cleaner
    private: str = ""  # where a safe private element was kept
    earlier: frozenset[str]
    meanings: dict[str, str]

    @model_validator(mode="after")
    def _known(self) -> Self:
        codes = {*self.always, self.cleaned, self.private, *self.earlier} - {""}
        if not codes <= set(self.meanings) <= METHOD_CODES:
            raise ValueError("a code has no meaning here, or is none of the method's codes")
        return self


class Quarantine(Frozen):
    """Objects that a person must see first: their pixels may hold text."""

    sop_classes: frozenset[str]
    image_type: frozenset[str]
    conversion_type: frozenset[str]


class _Options(Frozen):
    name: str
    edition: str
    source: str
    table: str  # file names beside the TOML file
    words: str
    prose: bool = False  # whether a general English list stands beside the vocabulary
    safe_private: str = ""
    notes: tuple[str, ...] = ()  # where the profile departs from its source, in whole sentences for `explain`
    method: str = Field(max_length=64)  # LO, PS3.5 section 6.2
    uid_root: str = Field(pattern=r"^[0-9.]+$")
    private_creator: str = Field(max_length=64)  # of the block that the program writes; empty: it writes none
    project: str = Field(max_length=16)  # SH
    claims: Claims
    kinds: dict[str, str]  # SOP class -> short name
    quarantine: Quarantine


class Profile(_Options):
    """A whole profile with its table."""

    digest: Sha256  # of its files
    files: tuple[str, ...]  # their names
    vocabulary: Words = Field(repr=False)
    rules: tuple[Rule, ...] = Field(repr=False)
    safe: tuple[SafePrivate, ...] = Field(default=(), repr=False)

    @cached_property
    def by_tag(self) -> Mapping[int, Rule]:
        """The table, keyed by tag number."""
        return MappingProxyType({rule.tag: rule for rule in self.rules})

    @cached_property
    def kept_rules(self) -> Mapping[int, Rule]:
        """The rows of the attributes that are not dropped, keyed by tag number."""
        return MappingProxyType({rule.tag: rule for rule in self.rules if rule.action not in DROP_ACTIONS})

    @cached_property
    def sequence_tags(self) -> frozenset[int]:
        """The tags of sequences."""
        return frozenset(rule.tag for rule in self.rules if "SQ" in rule.vrs)

    @cached_property
    def date_tags(self) -> frozenset[int]:
        """The tags of dates and datetimes."""
        return frozenset(rule.tag for rule in self.rules if rule.vrs & {"DA", "DT"})

    @cached_property
    def name_tags(self) -> frozenset[int]:
        """The tags of persons' names."""
        return frozenset(rule.tag for rule in self.rules if "PN" in rule.vrs)

    def action(self, tag: int) -> Action:
        """What happens to an attribute; one that no row names is removed."""
        rule = self.by_tag.get(tag)
        return Action.REMOVE if rule is None else rule.action

    @cached_property
    def safe_groups(self) -> frozenset[int]:
        """The private groups that hold a safe element."""
        return frozenset(element.group for element in self.safe)

    def block_rules(self, group: int, block: int, creator: str) -> Mapping[int, Rule]:
        """Rules, by tag, of the safe elements in the block that `creator` reserved; empty for all other blocks."""
        if group not in self.safe_groups:
            return _ABSENT
        key = (group, block, creator)
        known = self._blocks.get(key)
        if known is None:
            elements = (element for element in self.safe if (element.group, element.creator) == (group, creator))
            known = MappingProxyType({rule.tag: rule for rule in (element.rule(block) for element in elements)})
            if known:  # an unknown creator is not remembered: files choose those names
                self._blocks[key] = known
        return known

    @cached_property
    def _blocks(self) -> dict[tuple[int, int, str], Mapping[int, Rule]]:
        """Earlier answers of `block_rules`."""
        return {}

    @classmethod
    def from_files(cls, files: Mapping[str, str], *, file: str) -> Self:
        """Build the profile whose options stand in `files[file]`.

        Args:
            files: the texts of the data folder's files, by name.
            file: the name of the TOML file.

        Raises:
            ProtocolInvalid: a file is missing, a key or action unknown, a row malformed or doubled.
        """
        options, used = _options_and_texts(files, file)
        rules = read_rules(used[options.table], file=options.table)
        if any(not rule.required <= set(options.kinds.values()) for rule in rules):
            raise ProtocolInvalid(file=options.table, problem="a row names a kind that the profile does not process")
        return cls(
            **options.model_dump(),
            digest=digest_of(used),
            safe=read_safe_private(used.get(options.safe_private, ""), file=options.safe_private),
            vocabulary=Words.from_files(used, file=options.words, prose=options.prose),
            files=tuple(used),
            rules=rules,
        )


def texts_of_profile(files: Mapping[str, str], *, file: str) -> Mapping[str, str]:
    """The texts, by name, of the files that make up the profile in `files[file]`; raises `ProtocolInvalid`."""
    return _options_and_texts(files, file)[1]


def _options_and_texts(files: Mapping[str, str], file: str) -> tuple[_Options, dict[str, str]]:
    options = parse_part(_text(files, file, named_in=file), _Options, file=file)
    names = [options.table, options.words, VOCABULARY, DEVICES, SURNAMES]
    names += [*([ENGLISH] if options.prose else []), *([options.safe_private] if options.safe_private else [])]
    return options, {name: _text(files, name, named_in=file) for name in (file, *names)}


def digest_of(files: Mapping[str, str]) -> Sha256:
    """SHA-256 over the sorted lines `<SHA-256 of the file>  <name>`, as `sha256sum` prints them."""
    lines = (f"{hashlib.sha256(files[name].encode()).hexdigest()}  {name}\n" for name in sorted(files))
    return Sha256(hashlib.sha256("".join(lines).encode()).hexdigest())


def _text(files: Mapping[str, str], name: str, *, named_in: str) -> str:
    if name not in files:
        raise ProtocolInvalid(file=named_in, problem=f"there is no file {name}")
    return files[name]
