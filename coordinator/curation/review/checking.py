"""The checks of a study that was opened, each a function of the study alone, and their results in the register."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Register
from coordinator.curation.review.reviewing import note_checks
from coordinator.curation.review.verdict import CheckResult
from shared.ids import Sha256, Uid
from shared.protocol.criteria import Criteria

Check = Callable[[OpenedStudy], Iterable[CheckResult]]


@contextmanager
def study_checks(
    criteria: Criteria, opened: Iterable[OpenedStudy], case_numbers: Mapping[Sha256, int]
) -> Iterator[tuple[Check, ...]]:
    """The checks, which need the extra `curation`: the coordinator's program, without it, cannot read DICOM.

    Pixels are compared over all that is `opened`; `case_numbers` are the register's.
    """
    from coordinator.curation.review.burned_text import check_burned_text
    from coordinator.curation.review.clinical import check_dates
    from coordinator.curation.review.consistency import check_consistency
    from coordinator.curation.review.identity import check_identity
    from coordinator.curation.review.overview import PixelReview
    from coordinator.curation.review.scope import check_scope
    from coordinator.curation.review.screening import check_screening
    from site_node.pixels.client import PixelChecker

    opened = tuple(opened)
    with PixelChecker() as checker:
        yield (
            check_identity,
            partial(check_scope, opened=opened),
            partial(check_screening, criteria=criteria),
            check_dates,
            check_consistency,
            partial(check_burned_text, checker=checker),
            PixelReview(opened, case_numbers).check,
        )


def check_opened(register: Register, opened: Iterable[OpenedStudy], criteria: Criteria) -> int:
    """Check each study that is opened and not checked yet; returns how many.

    A study's results are entered before the next is begun, so that a kill costs one.
    """
    by_submission = {study.submission: study for study in opened}
    with register.reading() as reading:
        numbers = {case.submission: case.number for case in reading.cases()}
        cases = [case for case in reading.cases(CaseState.OPENED) if case.submission in by_submission]
    if not cases:
        return 0
    entered = [study for submission, study in by_submission.items() if submission in numbers]
    with study_checks(criteria, entered, numbers) as checks:
        for case in cases:
            results = [result for check in checks for result in check(by_submission[case.submission])]
            with register.changing() as change:
                if change.case(case.number).state is CaseState.OPENED:  # else another process was first
                    note_checks(change, case, results)
    return len(cases)


def write_sheets(study: OpenedStudy, case_number: int, out: Path) -> dict[str, tuple[Uid, ...]]:
    """Write a study's contact sheets into `out`; returns which images each shows. Raises `DiskFull`."""
    from coordinator.curation.review.overview import copy_sheets

    return {sheet.name: sheet.instances for sheet in copy_sheets(study, case_number, out)}
