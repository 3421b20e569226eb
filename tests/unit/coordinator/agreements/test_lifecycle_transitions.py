"""Laws of the agreement's lifecycle, over every pair of states."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from coordinator.agreements.lifecycle import NEXT, in_force, state_at, transition
from coordinator.agreements.text import agreement_text, text_digest
from coordinator.store.records import Agreement
from shared.agreement import AgreementTerms, CuratorKeys, Mode, Scope, State
from shared.errors import AgreementModeNotAllowed, AgreementNotExecuted, AgreementTransitionInvalid
from shared.ids import AgreementId, Sha256
from shared.manifest import canonical_json
from shared.signed import Signed

NOW = datetime(2026, 5, 1, tzinfo=UTC)
ENDED = frozenset({State.TERMINATED, State.EXPIRED})

# Written out a second time, so that a slip in the table does not prove itself.
ALLOWED = {
    ("interested", "invited"),
    ("invited", "drafted"),
    ("drafted", "drafted"),
    ("drafted", "signed"),
    ("signed", "executed"),
    ("executed", "suspended"),
    ("suspended", "executed"),
    *((state, "terminated") for state in ("interested", "invited", "drafted", "signed", "executed", "suspended")),
    *((state, "expired") for state in ("drafted", "signed", "executed", "suspended")),
}


def make_agreement(state: State, *, expires_at: datetime | None = None) -> Agreement:
    """An agreement in `state` that allows submission only."""
    terms = AgreementTerms(
        id=AgreementId("A-0123456789ab"),
        version=1,
        federation="f",
        site_name="Hospital",
        text_sha256=text_digest(agreement_text()),
        scope=Scope(description="chest", modalities=("CT",)),
        modes=(Mode.SUBMIT,),
        curator=CuratorKeys(
            name="c",
            recipient="age1",
            fingerprint="SHA256:x",
            verify_key="",
            statement=Signed(document="", signature=""),
        ),
        coordinator_fingerprint="SHA256:y",
        licence="CC BY-NC 4.0",
        protocol="ricord",
        protocol_digest=Sha256("0" * 64),
    )
    return Agreement(
        id=terms.id,
        site_name="Hospital",
        state=state,
        version=1,
        terms=canonical_json(terms).decode(),
        expires_at=expires_at,
        changed_at=NOW - timedelta(days=1),
    )


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_exactly_the_designed_transitions_are_allowed(before: State, after: State) -> None:
    """Of all 64 pairs only those allowed go through, with the time recorded; the others raise."""
    agreement = make_agreement(before)
    if (before, after) in ALLOWED:
        changed = transition(agreement, after, NOW)
        assert (changed.state, changed.changed_at) == (after, NOW)
    else:
        with pytest.raises(AgreementTransitionInvalid):
            transition(agreement, after, NOW)


def test_every_state_has_a_row_and_an_end() -> None:
    """No state is a trap: from each, termination or expiry is reachable, and nothing leaves those two."""
    assert set(NEXT) == set(State)
    assert all(not NEXT[state] for state in ENDED)
    for state in set(State) - ENDED:
        reached, frontier = {state}, {state}
        while frontier:
            frontier = {after for before in frontier for after in NEXT[before]} - reached
            reached |= frontier
        assert reached & ENDED


@pytest.mark.parametrize("state", list(State))
def test_only_an_executed_agreement_is_in_force(state: State) -> None:
    """Nothing is accepted outside it, in whatever other state."""
    if state is State.EXECUTED:
        assert in_force(make_agreement(state), NOW, Mode.SUBMIT).modes == (Mode.SUBMIT,)
    else:
        with pytest.raises(AgreementNotExecuted, match=state):
            in_force(make_agreement(state), NOW)


@pytest.mark.parametrize("mode", [Mode.COHORT, Mode.STATISTICS, Mode.TRAINING])
def test_a_mode_that_was_not_agreed_is_refused(mode: Mode) -> None:
    """Each way of taking part is agreed by itself."""
    with pytest.raises(AgreementModeNotAllowed, match=mode):
        in_force(make_agreement(State.EXECUTED), NOW, mode)


@pytest.mark.parametrize("state", list(State))
def test_time_ends_an_agreement_without_anybody_acting(state: State) -> None:
    """From its last moment on an agreement that can expire has expired, and cannot be revived."""
    agreement = make_agreement(state, expires_at=NOW)
    assert state_at(agreement, NOW - timedelta(microseconds=1)) is state
    if State.EXPIRED in NEXT[state]:
        assert state_at(agreement, NOW) is State.EXPIRED
        with pytest.raises(AgreementTransitionInvalid):
            transition(agreement, State.EXECUTED, NOW)
    else:
        assert state_at(agreement, NOW) is state
