"""The states of a study at the curator's, and the one table of who may do what to it when."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from shared.frozen import Frozen


class CaseState(StrEnum):
    """Where a study stands. Each state but the first and the last follows from a check or a person."""

    OPENED = "opened"
    CHECKED = "checked"
    REVIEWED = "reviewed"  # a person has seen every image
    ACCEPTED = "accepted"  # a person has confirmed that it is de-identified; films are read from here on
    QUARANTINED = "quarantined"
    REJECTED = "rejected"
    LABELLED = "labelled"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"  # or in the place of which a later submission of the study came


class Role(StrEnum):
    """Whose act it is."""

    PROGRAM = "program"
    CURATOR = "curator"
    READER = "reader"
    ADJUDICATOR = "adjudicator"


class Act(StrEnum):
    """What is done to a study."""

    OPEN = "open"
    CHECK = "check"
    REVIEW = "review"
    CONFIRM = "confirm"
    QUARANTINE = "quarantine"
    REJECT = "reject"
    REOPEN = "reopen"
    READ = "read"
    ADJUDICATE = "adjudicate"
    LABEL = "label"
    RELEASE = "release"
    WITHDRAW = "withdraw"


class Actor(Frozen):
    """Who acts; of a reader the pseudonym, since the log is shown to more than those who know the readers."""

    role: Role
    name: str

    @property
    def text(self) -> str:
        """As the log names it."""
        return f"{self.role}/{self.name}"


PROGRAM = Actor(role=Role.PROGRAM, name="curate")


class Rule(NamedTuple):
    """Whose an act is, in which states it may be done, which state follows, and whose earlier act bars a person."""

    role: Role
    states: frozenset[CaseState]
    to: CaseState
    never_after_own: Act | None = None


_S = CaseState

RULES: Mapping[Act, Rule] = MappingProxyType(
    {
        Act.OPEN: Rule(Role.PROGRAM, frozenset({_S.WITHDRAWN}), _S.OPENED),  # where it came again
        Act.CHECK: Rule(Role.PROGRAM, frozenset({_S.OPENED}), _S.CHECKED),
        Act.REVIEW: Rule(Role.CURATOR, frozenset({_S.CHECKED}), _S.REVIEWED),
        Act.CONFIRM: Rule(Role.CURATOR, frozenset({_S.REVIEWED, _S.QUARANTINED}), _S.ACCEPTED),
        Act.QUARANTINE: Rule(Role.CURATOR, frozenset({_S.REVIEWED, _S.ACCEPTED, _S.LABELLED}), _S.QUARANTINED),
        Act.REJECT: Rule(Role.CURATOR, frozenset(_S) - {_S.REJECTED, _S.RELEASED, _S.WITHDRAWN}, _S.REJECTED),
        Act.REOPEN: Rule(Role.CURATOR, frozenset({_S.REJECTED}), _S.OPENED),  # it is checked and reviewed anew
        Act.READ: Rule(Role.READER, frozenset({_S.ACCEPTED, _S.LABELLED}), _S.ACCEPTED),
        Act.ADJUDICATE: Rule(Role.ADJUDICATOR, frozenset({_S.ACCEPTED}), _S.ACCEPTED, never_after_own=Act.READ),
        Act.LABEL: Rule(Role.PROGRAM, frozenset({_S.ACCEPTED}), _S.LABELLED),
        Act.RELEASE: Rule(Role.CURATOR, frozenset({_S.LABELLED}), _S.RELEASED, never_after_own=Act.CONFIRM),
        Act.WITHDRAW: Rule(Role.PROGRAM, frozenset(_S) - {_S.WITHDRAWN}, _S.WITHDRAWN),
    }
)
