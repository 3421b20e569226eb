"""Laws of the agreement's lifecycle, over every pair of states."""

import re
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from coordinator.agreements.lifecycle import (
    NEXT,
    PERMITTED,
    Act,
    check_permitted,
    in_force,
    state_at,
    terms_of,
    transition,
)
from coordinator.agreements.text import agreement_text, text_digest
from coordinator.store.records import Agreement
from shared.agreement import AgreementTerms, CuratorKeys, Mode, Scope, State
from shared.errors.agreements import (
    AgreementModeNotAllowed,
    AgreementNotBegun,
    AgreementNotExecuted,
    AgreementTransitionInvalid,
)
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
    ("terminated", "invited"),
    ("expired", "invited"),
    ("expired", "terminated"),
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
    """No state is a trap: from each, termination or expiry is reachable."""
    assert set(NEXT) == set(State)
    for state in set(State) - ENDED:
        reached, frontier = {state}, {state}
        while frontier:
            frontier = {after for before in frontier for after in NEXT[before]} - reached
            reached |= frontier
        assert reached & ENDED


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_was_in_force_never_begins_anew(state: State) -> None:
    """One that ended after it was executed is not invited again: only a next version puts it in force."""
    signed = Signed(document="{}", signature="")
    with pytest.raises(AgreementTransitionInvalid):
        transition(make_agreement(state).model_copy(update={"execution": signed}), State.INVITED, NOW)


def test_the_page_says_what_each_state_permits() -> None:
    """ARCHITECTURE.md has the very table that the program asks, and every state a row."""
    text = (Path(__file__).parents[4] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- permitted: agreement -->\n(.*?)<!-- permitted: end -->", text, re.DOTALL)
    assert block is not None
    heading, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block[1].splitlines())
    assert heading == ["state", *Act]
    assert [row[0] for row in rows] == list(State) == list(PERMITTED)
    for state, *cells in rows:
        assert {act for act, cell in zip(Act, cells, strict=True) if cell == "yes"} == PERMITTED[State(state)]


@pytest.mark.parametrize(("state", "act"), list(product(State, Act)))
def test_exactly_what_the_table_permits_is_permitted(state: State, act: Act) -> None:
    """In every state, and a last day gives nothing back that the state before it forbade."""
    for agreement, rows in (
        (make_agreement(state), {state}),
        (make_agreement(state, expires_at=NOW), {state, state_at(make_agreement(state, expires_at=NOW), NOW)}),
    ):
        if all(act in PERMITTED[row] for row in rows):
            check_permitted(agreement, act, NOW)
        else:
            with pytest.raises(AgreementNotExecuted):
                check_permitted(agreement, act, NOW)


def test_nothing_is_accepted_before_the_first_day() -> None:
    """An agreement may be executed before it begins; its site may enrol meanwhile."""
    agreement, begins = make_agreement(State.EXECUTED), NOW + timedelta(hours=1)
    terms = AgreementTerms.model_validate_json(agreement.terms or "").model_copy(update={"starts_at": begins})
    agreement = agreement.model_copy(update={"terms": canonical_json(terms).decode()})
    with pytest.raises(AgreementNotBegun):
        in_force(agreement, begins - timedelta(microseconds=1), Mode.SUBMIT)
    assert in_force(agreement, NOW) == in_force(agreement, begins, Mode.SUBMIT) == terms


@pytest.mark.parametrize("state", list(State))
def test_only_an_executed_agreement_is_in_force(state: State) -> None:
    """Nothing is accepted outside it, in whatever other state."""
    if state is State.EXECUTED:
        assert in_force(make_agreement(state), NOW, Mode.SUBMIT).modes == (Mode.SUBMIT,)
    else:
        with pytest.raises(AgreementNotExecuted, match=state):
            in_force(make_agreement(state), NOW)


@pytest.mark.parametrize(("mode", "act"), list(product(Mode, (Act.SUBMIT, Act.FEDERATE))))
def test_each_way_of_taking_part_has_its_act_in_the_table(
    mode: Mode, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a state permits one of them only, nothing else is in force in it."""
    monkeypatch.setattr("coordinator.agreements.lifecycle.PERMITTED", {State.EXECUTED: {act}})
    agreement = make_agreement(State.EXECUTED)
    terms = terms_of(agreement).model_copy(update={"modes": tuple(Mode)})
    agreement = agreement.model_copy(update={"terms": canonical_json(terms).decode()})
    if (mode is Mode.SUBMIT) == (act is Act.SUBMIT):
        assert in_force(agreement, NOW, mode) == terms
    else:
        with pytest.raises(AgreementNotExecuted):
            in_force(agreement, NOW, mode)


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
