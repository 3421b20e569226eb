"""The review in the register: what the checks said, what a person saw in each image, and who confirmed the study."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

from pydantic import TypeAdapter

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.register.acts import PROGRAM, RULES, Act, Actor, CaseState
from coordinator.curation.register.register import Case, Change, Reading
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.errors.inputs import ActRefused, NotFound
from shared.ids import Uid

_RESULTS: TypeAdapter[tuple[CheckResult, ...]] = TypeAdapter(tuple[CheckResult, ...])


class Mark(StrEnum):
    """What a person sees in an image."""

    GOOD = "good"
    TEXT = "text"
    WRONG_PART = "wrong-part"
    LOCALIZER = "localizer"
    BLANK = "blank"
    DAMAGED = "damaged"


def note_checks(change: Change, case: Case, results: Sequence[CheckResult]) -> Case:
    """Enter what the checks said of an opened study; raises `ActRefused`."""
    worst_codes = ", ".join(sorted({each.code for each in results if each.verdict is not Verdict.ACCEPT}))
    checked = change.act(case, Act.CHECK, PROGRAM, result=worst_codes or "done")
    statement = "insert into checks values (?, ?) on conflict (case_number) do update set results = excluded.results"
    change.db.execute(statement, (case.number, _RESULTS.dump_json(tuple(results)).decode()))
    change.db.execute("delete from marks where case_number = ?", (case.number,))  # it is looked at anew
    return checked


def results_of(reading: Reading, case: Case) -> tuple[CheckResult, ...]:
    """What the checks said of a study; of one that was not checked nothing."""
    row = reading.db.execute("select results from checks where case_number = ?", (case.number,)).fetchone()
    return _RESULTS.validate_json(row[0]) if row else ()


def marks_of(reading: Reading, case: Case) -> Mapping[Uid, Mark]:
    """What was last said of each image since the study was checked."""
    rows = reading.db.execute("select instance, mark from marks where case_number = ?", (case.number,))
    return {Uid(instance): Mark(each) for instance, each in rows}


def mark(change: Change, case: Case, study: OpenedStudy, marks: Mapping[Uid, Mark], by: Actor) -> Case:
    """Note what a person saw in some images; once all of a study have a mark it is reviewed.

    Each mark is in the log. Raises `NotFound` for an image that is none of the study's, `ActRefused` where it is not
    being reviewed or `by` is nobody who reviews.
    """
    images = instances_of(study)
    if unknown := set(marks) - set(images):
        raise NotFound(kind="image of this study", name=min(unknown))
    if case.state not in {CaseState.CHECKED, CaseState.REVIEWED} or by.role is not RULES[Act.REVIEW].role:
        raise ActRefused(act=Act.REVIEW, problem=f"it is {case.state}, and not for a {by.role} to mark")
    statement = (
        "insert into marks values (?, ?, ?) on conflict (case_number, instance) do update set mark = excluded.mark"
    )
    for instance, each in marks.items():
        change.db.execute(statement, (case.number, instance, each))
        change.note(by, f"mark {each}", instance)
    seen = marks_of(change, case)
    if case.state is CaseState.CHECKED and set(images) <= set(seen):
        return change.act(case, Act.REVIEW, by, result=", ".join(sorted(set(seen.values()))))
    return case


def confirm(change: Change, case: Case, study: OpenedStudy, by: Actor, allowed: Collection[str]) -> Case:
    """Confirm by name that a study, as its digests are, is de-identified and of the protocol: it is accepted.

    Every image must be marked `good`, no check may reject it, and `allowed` names the code of each finding that asks
    for a person. Raises `ActRefused`.
    """
    problem = _problem(results_of(change, case), marks_of(change, case), study, allowed)
    if problem:
        raise ActRefused(act=Act.CONFIRM, problem=problem)
    despite = f", despite {', '.join(sorted(allowed))}" if allowed else ""
    return change.act(case, Act.CONFIRM, by, result=f"contents {study.contents.digest}{despite}")


def codes_to_allow(results: Iterable[CheckResult]) -> set[str]:
    """The codes of the findings that a person must allow by name."""
    return {result.code for result in results if result.verdict is Verdict.REVIEW}


def instances_of(study: OpenedStudy) -> tuple[Uid, ...]:
    """The images of a study, but those that were withdrawn."""
    return tuple(Uid(path.stem) for path in study.instances)


def _problem(
    results: Sequence[CheckResult], marks: Mapping[Uid, Mark], study: OpenedStudy, allowed: Collection[str]
) -> str:
    """Why a study cannot be confirmed; empty where it can."""
    images = instances_of(study)
    seen = [marks[instance] for instance in images if instance in marks]
    asked = codes_to_allow(results)
    if rejecting := sorted({result.code for result in results if result.verdict is Verdict.REJECT}):
        return f"its checks say {', '.join(rejecting)}"
    if len(seen) < len(images):
        return f"nobody has looked at {len(images) - len(seen)} of its images"
    if bad := sorted({each for each in seen if each is not Mark.GOOD}):
        return f"images are marked {', '.join(bad)}"
    if missing := sorted(asked - set(allowed)):
        return f"a person must allow {', '.join(missing)}"
    if unknown := sorted(set(allowed) - asked):
        return f"no check asks for a person about {', '.join(unknown)}"
    return ""
