"""What an annotation is, as data: what is asked of a study, in which terms and codes, and how reads are voted on.

A group of terms is asked of studies of some modalities, at one scope. Of a film's six zones its grade follows. A voting
policy says which groups are voted on together; it is named with every label that follows from it.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from shared.errors.inputs import NotFound
from shared.frozen import Frozen
from shared.ids import Sha256
from shared.manifest import canonical_json
from shared.protocol.parts import parse_part

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=40)]
Scope = Literal["study", "series", "instance"]
Match = Literal[
    "exact", "broader", "narrower", "nearest", "alternative", "local", "category", "anatomic region", "concept name"
]
APPEARANCE, GRADE, ZONES = "appearance", "grade", "zones"


class Code(Frozen):
    """A code of a coding scheme (PS3.3 section 8), and how close it comes to the term."""

    scheme: Literal["DCM", "SCT", "RADLEX", "99RICORD"]
    value: str
    meaning: str
    match: Match
    source: str


class Term(Frozen):
    """One answer: `label` as the published annotations write it, `key` by which a reader gives it."""

    name: Name
    label: str
    aliases: tuple[str, ...] = ()
    key: str = Field(default="", pattern=r"^[a-z0-9]?$")
    codes: tuple[Code, ...] = Field(min_length=1)
    zones: tuple[int, ...] = ()  # of a grade: the numbers of zones from which it follows
    modifier: str | None = None
    smallest_mm: float | None = Field(default=None, gt=0)  # what is not larger is not drawn


class Group(Frozen):
    """A question of a study, series or instance: one of the terms or `many`, written, or drawn as regions."""

    name: Name
    title: str
    modalities: tuple[Literal["CR", "DX", "CT"], ...] = Field(min_length=1)
    scope: Scope
    many: bool = False
    mode: Literal["choice", "text", "freeform"] = "choice"
    codes: tuple[Code, ...] = ()  # of the question, not of an answer
    terms: tuple[Term, ...] = ()

    def term(self, name: str) -> Term:
        """The term of that name; raises `NotFound`."""
        return _named(self.terms, name, kind=f"term of `{self.name}`")

    @model_validator(mode="after")
    def _terms_fit(self) -> Self:
        if (self.mode == "text") == bool(self.terms):
            raise ValueError(f"the group `{self.name}` has either terms or the mode `text`")
        _check_once((term.name for term in self.terms), f"term of `{self.name}`")
        _check_once((label for term in self.terms for label in (term.label, *term.aliases)), f"label of `{self.name}`")
        _check_once((term.key for term in self.terms if term.key), f"key of `{self.name}`")
        return self


class Policy(Frozen):
    """How reads are voted on: each ballot is of the groups that must agree together."""

    name: Name
    ballots: tuple[tuple[str, ...], ...] = Field(min_length=1)


class Vote(Frozen):
    """How many persons read a film, how many who agree decide, and by which policies."""

    readers: int = Field(ge=2)
    agreeing: int
    default: str
    policies: tuple[Policy, ...]

    def policy(self, name: str | None = None) -> Policy:
        """The policy of that name, or the default; raises `NotFound`."""
        return _named(self.policies, name or self.default, kind="voting policy")

    @model_validator(mode="after")
    def _decides_once(self) -> Self:
        if not self.readers / 2 < self.agreeing <= self.readers:
            raise ValueError("those who agree are not more than half of the readers")
        _check_once((policy.name for policy in self.policies), "policy")
        if self.default not in {policy.name for policy in self.policies}:
            raise ValueError("the default is none of the policies")
        for policy in self.policies:
            if sorted(group for ballot in policy.ballots for group in ballot) != sorted((APPEARANCE, GRADE)):
                raise ValueError(f"the policy `{policy.name}` does not vote on appearance and grade once each")
        return self


class AnnotationDefinition(Frozen):
    """All that is asked, in order, and the vote."""

    name: Name
    edition: str
    source: str
    ungraded: tuple[str, ...]
    vote: Vote
    modifiers: tuple[Term, ...]
    groups: tuple[Group, ...]

    @classmethod
    def from_toml(cls, text: str, *, file: str = "annotation definition") -> Self:
        """Read a definition; raises `ProtocolInvalid` naming an unknown key or a value that cannot be."""
        return parse_part(text, cls, file=file)

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the canonical JSON; labels name the definition by it."""
        return Sha256(hashlib.sha256(canonical_json(self)).hexdigest())

    def group(self, name: str) -> Group:
        """The group of that name; raises `NotFound`."""
        return _named(self.groups, name, kind="group of terms")

    def asked_of(self, modality: str) -> tuple[Group, ...]:
        """The groups that are asked of a study of that modality."""
        return tuple(group for group in self.groups if modality in group.modalities)

    def grade_of(self, zones: int) -> str | None:
        """The grade that follows from a number of zones, of none: `None`."""
        return next((term.name for term in self.group(GRADE).terms if zones in term.zones), None)

    @model_validator(mode="after")
    def _grades_follow(self) -> Self:
        _check_once((group.name for group in self.groups), "group")
        names = {group.name: {term.name for term in group.terms} for group in self.groups}
        if not {APPEARANCE, GRADE, ZONES} <= names.keys():
            raise ValueError("there is no appearance, no grade or no zones")
        if not set(self.ungraded) < names[APPEARANCE]:
            raise ValueError("`ungraded` names no appearance, or all")
        graded = sorted(number for term in self.group(GRADE).terms for number in term.zones)
        if graded != list(range(1, len(names[ZONES]) + 1)):
            raise ValueError("not each number of zones has one grade")
        if any(term.zones for group in self.groups if group.name != GRADE for term in group.terms):
            raise ValueError("a term that is no grade has numbers of zones")
        modifiers = {term.modifier for group in self.groups for term in group.terms} - {None}
        if not modifiers <= {term.name for term in self.modifiers}:
            raise ValueError("a term names a modifier that is none")
        return self


Named = TypeVar("Named", Term, Group, Policy)


def _named(items: Iterable[Named], name: str, *, kind: str) -> Named:
    item = next((item for item in items if item.name == name), None)
    if item is None:
        raise NotFound(kind=kind, name=name)
    return item


def _check_once(names: Iterable[str], kind: str) -> None:
    given = list(names)
    if len(set(given)) != len(given):
        raise ValueError(f"a {kind} stands twice")
