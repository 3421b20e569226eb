"""The lifecycle of an agreement as data: which state may follow which."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from coordinator.store.records import Agreement
from shared.agreement import AgreementTerms, Mode, State
from shared.errors import AgreementModeNotAllowed, AgreementNotExecuted, AgreementTransitionInvalid

_S = State

NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        _S.INTERESTED: frozenset({_S.INVITED, _S.TERMINATED}),
        _S.INVITED: frozenset({_S.DRAFTED, _S.TERMINATED}),
        _S.DRAFTED: frozenset({_S.DRAFTED, _S.SIGNED, _S.TERMINATED, _S.EXPIRED}),  # a draft may be rewritten
        _S.SIGNED: frozenset({_S.EXECUTED, _S.TERMINATED, _S.EXPIRED}),
        _S.EXECUTED: frozenset({_S.SUSPENDED, _S.TERMINATED, _S.EXPIRED}),
        _S.SUSPENDED: frozenset({_S.EXECUTED, _S.TERMINATED, _S.EXPIRED}),
        _S.TERMINATED: frozenset(),
        _S.EXPIRED: frozenset(),
    }
)

_CAN_EXPIRE = frozenset(state for state, after in NEXT.items() if _S.EXPIRED in after)


def state_at(agreement: Agreement, now: datetime) -> State:
    """The state of an agreement at `now`: past its last moment it has expired, whether or not that was recorded."""
    expired = agreement.expires_at is not None and agreement.expires_at <= now
    return State.EXPIRED if expired and agreement.state in _CAN_EXPIRE else agreement.state


def transition(agreement: Agreement, target: State, now: datetime, **changes: Any) -> Agreement:
    """The agreement in its next state, with `changes` to its other fields.

    Raises `AgreementTransitionInvalid` when `target` does not follow the state at `now`.
    """
    state = state_at(agreement, now)
    if target not in NEXT[state]:
        raise AgreementTransitionInvalid(state=state, wanted=target)
    return agreement.model_copy(update={**changes, "state": target, "changed_at": now})


def terms_of(agreement: Agreement) -> AgreementTerms:
    """The terms; raises `AgreementNotExecuted` where none were drafted yet."""
    if agreement.terms is None:
        raise AgreementNotExecuted(state=agreement.state)
    return AgreementTerms.model_validate_json(agreement.terms)


def in_force(agreement: Agreement, now: datetime, mode: Mode | None = None) -> AgreementTerms:
    """The terms of an agreement that is executed at `now` and allows `mode` (`None`: any).

    Raises `AgreementNotExecuted` or `AgreementModeNotAllowed`. Whatever moves data or starts work calls this first.
    """
    state = state_at(agreement, now)
    if state is not State.EXECUTED:
        raise AgreementNotExecuted(state=state)
    terms = terms_of(agreement)
    if mode is not None and mode not in terms.modes:
        raise AgreementModeNotAllowed(mode=mode)
    return terms
