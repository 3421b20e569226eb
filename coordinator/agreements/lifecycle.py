"""The lifecycle of an agreement as data: which state may follow which, and what is permitted in each."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from coordinator.store.records import Agreement
from shared.agreement import AgreementTerms, Mode, State
from shared.errors.agreements import (
    AgreementModeNotAllowed,
    AgreementNotBegun,
    AgreementNotExecuted,
    AgreementTransitionInvalid,
)

_S = State

NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        _S.INTERESTED: frozenset({_S.INVITED, _S.TERMINATED}),
        _S.INVITED: frozenset({_S.DRAFTED, _S.TERMINATED}),
        _S.DRAFTED: frozenset({_S.DRAFTED, _S.SIGNED, _S.TERMINATED, _S.EXPIRED}),  # a draft may be rewritten
        _S.SIGNED: frozenset({_S.EXECUTED, _S.TERMINATED, _S.EXPIRED}),
        _S.EXECUTED: frozenset({_S.SUSPENDED, _S.TERMINATED, _S.EXPIRED}),
        _S.SUSPENDED: frozenset({_S.EXECUTED, _S.TERMINATED, _S.EXPIRED}),
        _S.TERMINATED: frozenset({_S.INVITED}),  # where nothing was ever in force; else by an amendment only
        _S.EXPIRED: frozenset({_S.INVITED, _S.TERMINATED}),
    }
)

_CAN_EXPIRE = frozenset(state for state, after in NEXT.items() if _S.EXPIRED in after)


class Act(StrEnum):
    """What the sides may do under an agreement."""

    SUBMIT = "site submits"
    FETCH = "curator fetches what was received"
    RENEW = "site renews its certificate"
    FEDERATE = "site takes part in federated work"
    WITHDRAW = "either side withdraws"


PERMITTED: Mapping[State, frozenset[Act]] = MappingProxyType(
    {
        _S.INTERESTED: frozenset(),
        _S.INVITED: frozenset(),
        _S.DRAFTED: frozenset(),
        _S.SIGNED: frozenset(),
        _S.EXECUTED: frozenset(Act),
        _S.SUSPENDED: frozenset({Act.RENEW, Act.WITHDRAW}),
        _S.TERMINATED: frozenset({Act.WITHDRAW}),
        _S.EXPIRED: frozenset({Act.FETCH, Act.RENEW, Act.WITHDRAW}),
    }
)


def state_at(agreement: Agreement, now: datetime) -> State:
    """The state of an agreement at `now`: past its last moment it has expired, whether or not that was recorded."""
    expired = agreement.expires_at is not None and agreement.expires_at <= now
    return State.EXPIRED if expired and agreement.state in _CAN_EXPIRE else agreement.state


def as_of(agreement: Agreement, now: datetime) -> Agreement:
    """The agreement with the state that it has at `now`."""
    return agreement.model_copy(update={"state": state_at(agreement, now)})


def transition(agreement: Agreement, target: State, now: datetime, **changes: Any) -> Agreement:
    """The agreement in its next state, with `changes` to its other fields.

    Raises `AgreementTransitionInvalid` when `target` does not follow the state at `now`, or when one that was in force
    would begin anew.
    """
    state = state_at(agreement, now)
    if target not in NEXT[state] or (target is State.INVITED and agreement.execution is not None):
        raise AgreementTransitionInvalid(state=state, wanted=target)
    return agreement.model_copy(update={**changes, "state": target, "changed_at": now})


def to_sign(agreement: Agreement, now: datetime) -> AgreementTerms:
    """The terms that the site may sign now: the next version's, or a draft's.

    Raises `AgreementNotExecuted` where there are none.
    """
    if agreement.amendment is not None:
        return AgreementTerms.model_validate_json(agreement.amendment.terms)
    if (state := state_at(agreement, now)) is not State.DRAFTED:
        raise AgreementNotExecuted(state=state)
    return terms_of(agreement)


def amended(agreement: Agreement, now: datetime) -> Agreement:
    """The agreement in force with its next version in place of the one before, not countersigned yet.

    It may have been suspended or have ended. Raises `AgreementTransitionInvalid` unless the site has signed, and
    `AgreementNotBegun` before the next version's first day, since the one before would end with it.
    """
    amendment = agreement.amendment
    if amendment is None or amendment.consent is None:
        raise AgreementTransitionInvalid(state=state_at(agreement, now), wanted="amended")
    terms = AgreementTerms.model_validate_json(amendment.terms)
    _check_begun(terms, now)
    changes = {"version": amendment.version, "terms": amendment.terms, "consent": amendment.consent}
    changes |= {"curator": terms.curator.name}
    ends = {"expires_at": terms.expires_at, "state": State.EXECUTED, "changed_at": now}
    amended = agreement.model_copy(update={**changes, **ends, "execution": None, "amendment": None, "attachment": None})
    if state_at(amended, now) is State.EXPIRED:
        raise AgreementTransitionInvalid(state=State.EXPIRED, wanted=State.EXECUTED)
    return amended


def terms_of(agreement: Agreement) -> AgreementTerms:
    """The terms; raises `AgreementNotExecuted` where none were drafted yet."""
    if agreement.terms is None:
        raise AgreementNotExecuted(state=agreement.state)
    return AgreementTerms.model_validate_json(agreement.terms)


def check_permitted(agreement: Agreement, act: Act, now: datetime) -> None:
    """Raise `AgreementNotExecuted` unless `act` is permitted; a last day permits nothing that a suspension forbids."""
    state = state_at(agreement, now)
    if act not in PERMITTED[state] & PERMITTED[agreement.state]:
        raise AgreementNotExecuted(state=state)


def in_force(agreement: Agreement, now: datetime, mode: Mode | None = None) -> AgreementTerms:
    """The terms of an agreement that is executed at `now` and allows `mode` (`None`: any, from before its first day).

    Raises `AgreementNotExecuted`, `AgreementNotBegun` or `AgreementModeNotAllowed`. Whatever moves data or starts work
    calls this first.
    """
    check_permitted(agreement, Act.SUBMIT if mode in {None, Mode.SUBMIT} else Act.FEDERATE, now)
    terms = terms_of(agreement)
    if mode is not None:
        _check_begun(terms, now)
        if mode not in terms.modes:
            raise AgreementModeNotAllowed(mode=mode)
    return terms


def _check_begun(terms: AgreementTerms, now: datetime) -> None:
    if terms.starts_at is not None and now < terms.starts_at:
        raise AgreementNotBegun(moment=f"{terms.starts_at:%Y-%m-%d %H:%M} UTC")
