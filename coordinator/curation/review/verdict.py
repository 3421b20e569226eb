"""What a check says of a study: a verdict, and for whoever decides a sentence without any value of a patient."""

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from shared.frozen import Frozen
from shared.ids import Uid


class Verdict(StrEnum):
    """What follows from a check, the mildest first."""

    ACCEPT = "accept"
    WARN = "warn"  # shown, and nothing follows
    REVIEW = "review"  # a person says by name that it may pass
    REJECT = "reject"  # the study cannot be accepted

    @property
    def rank(self) -> int:
        """The place from the mildest."""
        return list(Verdict).index(self)


class CheckResult(Frozen):
    """What one check says, of the whole study or of the `instances` that it names."""

    check: str = Field(pattern=r"^[a-z][a-z-]*$")
    verdict: Verdict
    code: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    reason: str = Field(min_length=1, max_length=300)
    instances: tuple[Uid, ...] = ()


def worst(results: Iterable[CheckResult]) -> Verdict:
    """The verdict on a study: the worst of its checks', of none `accept`."""
    return max((result.verdict for result in results), key=lambda verdict: verdict.rank, default=Verdict.ACCEPT)
