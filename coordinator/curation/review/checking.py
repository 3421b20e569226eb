"""The checks of a study that was opened, each a function of the study alone, and their results in the register."""

from collections.abc import Callable, Iterable

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Register
from coordinator.curation.review.reviewing import note_checks
from coordinator.curation.review.verdict import CheckResult

Check = Callable[[OpenedStudy], Iterable[CheckResult]]


def study_checks() -> tuple[Check, ...]:
    """The checks, which need the extra `curation`: the coordinator's program, without it, cannot read DICOM."""
    from coordinator.curation.review.identity import check_identity

    return (check_identity,)


def check_opened(register: Register, opened: Iterable[OpenedStudy]) -> int:
    """Check each study that is opened and not checked yet; returns how many.

    A study's results are entered before the next is begun, so that a kill costs one.
    """
    by_submission = {study.submission: study for study in opened}
    with register.reading() as reading:
        cases = [case for case in reading.cases(CaseState.OPENED) if case.submission in by_submission]
    checks = study_checks() if cases else ()
    for case in cases:
        results = [result for check in checks for result in check(by_submission[case.submission])]
        with register.changing() as change:
            if change.case(case.number).state is CaseState.OPENED:  # else another process was first
                note_checks(change, case, results)
    return len(cases)
