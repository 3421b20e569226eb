"""Whether a study lies within what its site agreed to: of these modalities, and no more studies than that."""

from collections.abc import Iterable, Iterator
from functools import partial

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.verdict import CheckResult, Verdict

_result = partial(CheckResult, check="scope")


def check_scope(study: OpenedStudy, opened: Iterable[OpenedStudy]) -> Iterator[CheckResult]:
    """Compare a study with its agreement's Exhibit A; `opened` is all that is open, of which the earlier ones count.

    What an earlier release opened has no scope with it, and is not compared.
    """
    contents, scope = study.contents, study.arrival.scope
    if scope is None:
        return
    if not set(contents.modalities) <= set(scope.modalities):
        yield _result(
            verdict=Verdict.REJECT,
            code="other-modality-than-agreed",
            reason="Its agreement does not name its modality.",
        )
    earlier = sum(
        other.contents.agreement == contents.agreement and other.arrival.number < study.arrival.number
        for other in opened
    )
    if scope.studies is not None and earlier >= scope.studies:
        reason = "As many studies as its agreement covers came before it."
        yield _result(verdict=Verdict.REVIEW, code="more-than-agreed", reason=reason)
