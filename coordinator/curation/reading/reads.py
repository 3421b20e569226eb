"""What a reader says of a film, in the terms of the definition, and the order in which each reader gets the films."""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from coordinator.curation.reading.consensus import Classification
from shared.errors.inputs import ReadingRefused
from shared.frozen import Frozen
from shared.protocol.annotation import ZONES, AnnotationDefinition

_Term = Annotated[str, StringConstraints(min_length=1, max_length=40)]
_Terms = Annotated[tuple[_Term, ...], Field(max_length=10)]


class FilmRead(Frozen):
    """A read as it is submitted: final, and the same whatever order its terms were ticked in.

    A reader who ticks `zones` gives no other grade than follows from them; one may give a grade alone.
    """

    appearance: _Term
    grade: _Term | None = None
    zones: _Terms = ()
    quality: _Terms = ()
    devices: _Terms = ()
    note: str = Field(default="", max_length=500)

    @property
    def classification(self) -> Classification:
        """What is voted on."""
        return Classification(appearance=self.appearance, grade=self.grade)

    def checked(self, definition: AnnotationDefinition) -> Self:
        """The read with its terms in the definition's order and the grade of its zones; raises `ReadingRefused`."""
        sorted_terms = {
            name: _in_order(getattr(self, name), (term.name for term in definition.group(name).terms), name)
            for name in (ZONES, "quality", "devices")
        }
        if not all(each.isprintable() for each in self.note.split("\n")):
            raise _refused("its note has characters that cannot be printed")
        grade = definition.grade_of(len(sorted_terms[ZONES])) or self.grade
        if self.grade not in {None, grade}:
            raise _refused(f"its zones are {grade}, and it says {self.grade}")
        self.classification.model_copy(update={"grade": grade}).check(definition)
        return self.model_copy(update={**sorted_terms, "grade": grade})


class Draft(Frozen):
    """A read that is not complete yet, as its reader left it."""

    appearance: _Term | None = None
    grade: _Term | None = None
    zones: _Terms = ()
    quality: _Terms = ()
    devices: _Terms = ()
    note: str = Field(default="", max_length=500)

    def complete(self) -> FilmRead:
        """The read that it is; raises `ReadingRefused` where it says no appearance."""
        if self.appearance is None:
            raise _refused("it says no appearance")
        return FilmRead.model_validate(self.model_dump())


def blind_name(study: str, seed: str) -> str:
    """What the reader of that secret seed is shown in place of a study: of no use to anybody else."""
    return hashlib.sha256(f"{seed}\n{study}".encode()).hexdigest()[:16]


def reading_order(studies: Iterable[str], seed: str) -> tuple[str, ...]:
    """The studies in the order of a reader, that of the names: no site, no arrival and no read shows in it.

    What is added or left out changes nothing of the order of the others.
    """
    return tuple(sorted(set(studies), key=lambda study: blind_name(study, seed)))


def _in_order(given: tuple[str, ...], known: Iterable[str], name: str) -> tuple[str, ...]:
    terms = tuple(known)
    if len(set(given)) != len(given) or not {*given} <= {*terms}:
        raise _refused(f"the terms of its {name} are not different ones of " + ", ".join(terms))
    return tuple(term for term in terms if term in given)


def _refused(problem: str) -> ReadingRefused:
    return ReadingRefused(what="The read", problem=problem)
