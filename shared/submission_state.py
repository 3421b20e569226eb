"""The states of a submission, as data, and the document by which its curator sets them."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.agreement import Moment
from shared.errors.inputs import SubmissionTransitionInvalid
from shared.frozen import Frozen
from shared.ids import Sha256


class SubmissionState(StrEnum):
    """Where a submission stands at the centre."""

    RECEIVED = "received"  # the coordinator holds it sealed
    QUARANTINED = "quarantined"  # its curator has opened it and has not decided
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"  # a side took it back, whole or some of its images: the ciphertext is deleted


_S = SubmissionState

NEXT: Mapping[SubmissionState, frozenset[SubmissionState]] = MappingProxyType(
    {
        _S.RECEIVED: frozenset({_S.QUARANTINED, _S.REJECTED, _S.WITHDRAWN}),  # what cannot be opened can be rejected
        _S.QUARANTINED: frozenset({_S.ACCEPTED, _S.REJECTED, _S.WITHDRAWN}),
        _S.ACCEPTED: frozenset({_S.QUARANTINED, _S.REJECTED, _S.WITHDRAWN}),  # a later decision corrects an earlier one
        _S.REJECTED: frozenset({_S.QUARANTINED, _S.ACCEPTED, _S.WITHDRAWN}),
        _S.WITHDRAWN: frozenset({_S.WITHDRAWN, _S.RECEIVED}),  # more of it; again, where that is allowed
    }
)


DECIDED = frozenset({_S.QUARANTINED, _S.ACCEPTED, _S.REJECTED})  # by the curator


def check_next(state: SubmissionState, target: SubmissionState) -> None:
    """Raise `SubmissionTransitionInvalid` unless `target` may follow `state`."""
    if target not in NEXT[state]:
        raise SubmissionTransitionInvalid(state=state, wanted=target)


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a reason is one printable line")
    return text


_Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_printable),
]


Reasons = Annotated[tuple[_Reason, ...], Field(max_length=5)]


class Decision(Frozen):
    """What a curator signs to set a submission's state; a thousand of the longest fit a page of a list."""

    format: Literal["ricord-decision/1"] = "ricord-decision/1"
    submission: Sha256
    state: SubmissionState
    reasons: Reasons = ()
    decided_at: Moment
