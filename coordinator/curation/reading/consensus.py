"""Consensus of three blinded reads of a film as RICORD published it: who agree decide, else an adjudicator does.

Tsai et al., Radiology 2021;299:E204: two of three who classify alike are final, else a senior reader who sees the three
reads decides. A negative film has no grade. By which named policy the reads were voted on stands in every result, which
says nothing of who voted how.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, Self

from pydantic import model_validator

from shared.errors.inputs import ReadingRefused
from shared.frozen import Frozen
from shared.protocol.annotation import APPEARANCE, GRADE, AnnotationDefinition, Policy


class Classification(Frozen):
    """What a film is voted on: the names of an appearance and of a grade, `None` where the appearance has none."""

    appearance: str
    grade: str | None = None

    def check(self, definition: AnnotationDefinition) -> Self:
        """Raise `ReadingRefused` unless both are terms, and there is a grade where the appearance has one."""
        appearances = {term.name for term in definition.group(APPEARANCE).terms}
        grades = {term.name for term in definition.group(GRADE).terms}
        if self.appearance not in appearances:
            raise ReadingRefused(what="The read", problem="its appearance is none of " + ", ".join(sorted(appearances)))
        if self.appearance in definition.ungraded and self.grade is not None:
            raise ReadingRefused(what="The read", problem=f"an appearance that is {self.appearance} has no grade")
        if self.appearance not in definition.ungraded and self.grade not in grades:
            raise ReadingRefused(what="The read", problem="its grade is none of " + ", ".join(sorted(grades)))
        return self


class Answer(Frozen):
    """What became of one group of terms; `votes` are those for each term that got any, the most first.

    A group is not asked where no reader was to answer it, or where the appearance leaves it without an answer.
    """

    term: str | None = None
    how: Literal["majority", "adjudicated", "undecided", "not asked"]
    votes: tuple[int, ...] = ()

    @property
    def ratio(self) -> str:
        """The votes for the term and those against it, such as `2:1`."""
        return f"{sum(self.votes[:1])}:{sum(self.votes[1:])}"

    @model_validator(mode="after")
    def _has_a_term_where_decided(self) -> Self:
        if (self.term is not None) != (self.how in {"majority", "adjudicated"}):
            raise ValueError("an answer has a term exactly where it is decided")
        return self


class Consensus(Frozen):
    """The label of a film as far as it is decided, and by which policy."""

    policy: str
    appearance: Answer
    grade: Answer

    @property
    def undecided(self) -> tuple[str, ...]:
        """The groups that an adjudicator must decide."""
        answers = {APPEARANCE: self.appearance, GRADE: self.grade}
        return tuple(name for name, answer in answers.items() if answer.how == "undecided")


def consensus(
    reads: Sequence[Classification], definition: AnnotationDefinition, policy: str | None = None
) -> Consensus:
    """Vote on the reads of one film, each by another person, by the policy of that name or the definition's default.

    A ballot on the grade alone is cast by those who gave one. Raises `ReadingRefused` for another number of reads or a
    read that is none, `NotFound` for an unknown policy.
    """
    vote = definition.vote
    if len(reads) != vote.readers:
        raise ReadingRefused(what="The consensus", problem=f"it needs {vote.readers} reads, there are {len(reads)}")
    chosen = vote.policy(policy)
    answers = _answers([read.check(definition) for read in reads], chosen, vote.agreeing)
    if answers[APPEARANCE].term in definition.ungraded:
        answers[GRADE] = Answer(how="not asked", votes=answers[GRADE].votes)
    return Consensus(policy=chosen.name, **answers)


def adjudicate(
    result: Consensus,
    definition: AnnotationDefinition,
    *,
    by: str,
    readers: Collection[str],
    appearance: str | None = None,
    grade: str | None = None,
) -> Consensus:
    """Decide what a vote left undecided, and nothing else; `by` is none of those who read the film.

    An appearance without a grade leaves no grade to decide. Raises `ReadingRefused`.
    """
    if by in readers:
        raise _refused("who read a study does not adjudicate it")
    if not result.undecided:
        raise _refused("nothing is undecided")
    given = {name: term for name, term in ((APPEARANCE, appearance), (GRADE, grade)) if term is not None}
    if decided := given.keys() - set(result.undecided):
        raise _refused(f"the {min(decided)} is decided")
    label = {APPEARANCE: result.appearance.term, GRADE: result.grade.term, **given}
    is_ungraded = label[APPEARANCE] in definition.ungraded
    if is_ungraded and GRADE not in given:
        label[GRADE] = None
    if missing := [name for name in result.undecided if label[name] is None and not (name == GRADE and is_ungraded)]:
        raise _refused(f"the {missing[0]} is undecided")
    Classification.model_validate(label).check(definition)
    answers = {
        name: _after(answer, given.get(name), is_asked=label[name] is not None)
        for name, answer in ((APPEARANCE, result.appearance), (GRADE, result.grade))
    }
    return Consensus(policy=result.policy, **answers)


def _after(answer: Answer, term: str | None, *, is_asked: bool) -> Answer:
    if term is not None:
        return Answer(term=term, how="adjudicated", votes=answer.votes)
    return answer if is_asked else Answer(how="not asked", votes=answer.votes)


def _answers(reads: Sequence[Classification], policy: Policy, agreeing: int) -> dict[str, Answer]:
    answers = dict[str, Answer]()
    for ballot in policy.ballots:
        cast = [tuple(getattr(read, group) for group in ballot) for read in reads]
        counted = Counter(vote for vote in cast if any(vote)).most_common()
        votes = tuple(count for _, count in counted)
        terms = counted[0][0] if counted and votes[0] >= agreeing else (None,) * len(ballot)
        is_decided = any(terms)
        for group, term in zip(ballot, terms, strict=True):
            how: Literal["majority", "undecided", "not asked"] = "majority" if term else "undecided"
            if not counted or (is_decided and term is None):
                how = "not asked"
            answers[group] = Answer(term=term, how=how, votes=votes)
    return answers


def _refused(problem: str) -> ReadingRefused:
    return ReadingRefused(what="The adjudication", problem=problem)
