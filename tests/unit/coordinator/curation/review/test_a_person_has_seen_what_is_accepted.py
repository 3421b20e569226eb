"""A study is accepted when a person has marked every image as good, allowed each finding by name and confirmed it."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.register.acts import PROGRAM, Act, Actor, CaseState, Role
from coordinator.curation.register.register import Register
from coordinator.curation.review.reviewing import Mark, confirm, instances_of, mark, marks_of, note_checks, results_of
from coordinator.curation.review.verdict import CheckResult, Verdict, worst
from shared.errors.inputs import ActRefused, NotFound
from shared.ids import Uid
from tests.factories.opened import write_opened

ANNA = Actor(role=Role.CURATOR, name="anna")
results = st.lists(
    st.builds(
        CheckResult,
        check=st.just("screen"),
        verdict=st.sampled_from(Verdict),
        code=st.sampled_from(("minor", "localizer", "same-pixels")),
        reason=st.just("It is so."),
    ),
    max_size=4,
)


class Review(NamedTuple):
    register: Register
    study: OpenedStudy

    def marked(self, marks: dict[Uid, Mark], by: Actor = ANNA) -> CaseState:
        with self.register.changing() as change:
            return mark(change, change.cases()[0], self.study, marks, by).state

    def confirmed(self, *allowed: str, by: Actor = ANNA) -> CaseState:
        with self.register.changing() as change:
            return confirm(change, change.cases()[0], self.study, by, allowed).state

    def checked(self, *findings: CheckResult) -> None:
        with self.register.changing() as change:
            note_checks(change, change.cases()[0], findings)


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    study = write_opened(tmp_path, 1)
    register = Register(tmp_path / "register.sqlite")
    register.follow([study], ())
    yield Review(register, study)
    register.close()


def finding(verdict: Verdict, code: str = "minor") -> CheckResult:
    return CheckResult(check="screen", verdict=verdict, code=code, reason="It is so.")


@given(
    findings=results,
    marks=st.lists(st.sampled_from((None, *Mark)), min_size=2, max_size=2),
    allowed=st.sets(st.sampled_from(("minor", "localizer", "same-pixels"))),
)
def test_nothing_else_accepts(findings: list[CheckResult], marks: list[Mark | None], allowed: set[str]) -> None:
    """Accepted: no check rejects, every image was marked good, and exactly what asks for a person was allowed."""
    with TemporaryDirectory() as folder:
        study = write_opened(Path(folder), 1)
        register = Register(Path(folder) / "register.sqlite")
        register.follow([study], ())
        review = Review(register, study)
        review.checked(*findings)
        with register.reading() as reading:
            assert results_of(reading, reading.cases()[0]) == tuple(findings)
        images = instances_of(study)
        state = review.marked({uid: each for uid, each in zip(images, marks, strict=True) if each})
        assert (state == CaseState.REVIEWED) == (None not in marks)
        asked = {each.code for each in findings if each.verdict is Verdict.REVIEW}
        if worst(findings) is not Verdict.REJECT and set(marks) == {Mark.GOOD} and allowed == asked:
            assert review.confirmed(*allowed) is CaseState.ACCEPTED
            with register.reading() as reading:
                *_, event = reading.events()
            assert (event.actor, event.action) == ("curator/anna", "confirm")
            despite = f", despite {', '.join(sorted(allowed))}" if allowed else ""
            assert event.result == f"contents {study.contents.digest}{despite}"
        else:
            with pytest.raises(ActRefused):
                review.confirmed(*allowed)
        register.close()


def test_the_last_mark_counts_and_all_stay(review: Review) -> None:
    """A person who looks again changes the mark; the log has both, with who said so."""
    review.checked()
    images = instances_of(review.study)
    review.marked(dict.fromkeys(images, Mark.TEXT))
    with pytest.raises(ActRefused):
        review.confirmed()
    review.marked(dict.fromkeys(images, Mark.GOOD), Actor(role=Role.CURATOR, name="ben"))
    with review.register.reading() as reading:
        marks = [(each.actor, each.action) for each in reading.events() if each.action.startswith("mark")]
    assert marks == [("curator/anna", "mark text")] * 2 + [("curator/ben", "mark good")] * 2
    assert review.confirmed() is CaseState.ACCEPTED


def test_what_is_opened_again_is_looked_at_again(review: Review) -> None:
    """After a rejection is reopened the earlier marks count no more."""
    review.checked()
    review.marked(dict.fromkeys(instances_of(review.study), Mark.GOOD))
    with review.register.changing() as change:
        case = change.act(change.cases()[0], Act.REJECT, ANNA)
        change.act(case, Act.REOPEN, ANNA)
    with pytest.raises(ActRefused):
        review.marked({})
    review.checked(finding(Verdict.WARN))
    with review.register.reading() as reading:
        assert marks_of(reading, reading.cases()[0]) == {}
        assert results_of(reading, reading.cases()[0]) == (finding(Verdict.WARN),)


def test_an_image_of_another_study_has_no_mark(review: Review) -> None:
    """What is no image of the study is refused, and so is the program in the place of a person."""
    review.checked()
    with pytest.raises(NotFound):
        review.marked({Uid("2.25.1"): Mark.GOOD})
    with pytest.raises(ActRefused):
        review.marked(dict.fromkeys(instances_of(review.study), Mark.GOOD), PROGRAM)


def test_the_worst_verdict_is_the_studys() -> None:
    """In whatever order, and of no finding `accept`."""
    assert worst(()) is Verdict.ACCEPT
    assert worst([finding(each) for each in (Verdict.REVIEW, Verdict.REJECT, Verdict.WARN)]) is Verdict.REJECT
    assert worst([finding(each) for each in (Verdict.WARN, Verdict.REVIEW, Verdict.ACCEPT)]) is Verdict.REVIEW
