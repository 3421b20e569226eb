"""A study goes from state to state by the acts of the table alone, each by whom the table names, each in the log."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.curation.register.acts import PROGRAM, RULES, Act, Actor, CaseState, Role
from coordinator.curation.register.register import Register
from shared.errors.inputs import ActRefused
from shared.errors.storage import HomeFailed
from tests.factories.opened import write_opened

actors = st.builds(Actor, role=st.sampled_from(Role), name=st.sampled_from(("anna", "ben", "Anna")))


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    register = Register(tmp_path / "register.sqlite")
    register.follow([write_opened(tmp_path / "opened", 1)], ())
    yield register
    register.close()


@given(st.lists(st.tuples(st.sampled_from(Act), actors), max_size=25))
def test_any_acts_leave_a_way_through_the_table(acts: list[tuple[Act, Actor]]) -> None:
    """Whatever is tried, what is done fits the table from state to state, and the log names each act and no other."""
    with TemporaryDirectory() as folder:
        register = Register(Path(folder) / "register.sqlite")
        register.follow([write_opened(Path(folder), 1)], ())
        done = [("open", "program/curate")]
        confirmers, readers = set[str](), set[str]()
        for act, by in acts:
            rule = RULES[act]
            with register.changing() as change:
                (case,) = change.cases()
                barred = {Act.RELEASE: confirmers, Act.ADJUDICATE: readers}.get(act, set())
                if by.role is rule.role and case.state in rule.states and by.name.casefold() not in barred:
                    assert change.act(case, act, by).state is rule.to
                    done.append((act, by.text))
                    {Act.CONFIRM: confirmers, Act.READ: readers}.get(act, set()).add(by.name.casefold())
                    assert change.case(case.number).state is rule.to
                else:
                    with pytest.raises(ActRefused):
                        change.act(case, act, by)
                    assert change.case(case.number).state is case.state
        with register.reading() as reading:
            assert [(event.action, event.actor) for event in reading.events()] == done
            assert reading.verified().intact
        register.close()


def test_every_state_can_be_reached_and_left_by_a_withdrawal() -> None:
    """No state is out of reach; from each but itself a study can be withdrawn, and nothing follows from a release."""
    assert {rule.to for rule in RULES.values()} == set(CaseState)
    assert RULES[Act.WITHDRAW].states == set(CaseState) - {CaseState.WITHDRAWN}
    assert [act for act, rule in RULES.items() if CaseState.RELEASED in rule.states] == [Act.WITHDRAW]


def test_what_is_accepted_was_reviewed_by_a_person() -> None:
    """No way without `review` ends where a study can be confirmed, read, labelled or released."""
    reached, todo = set[CaseState](), {CaseState.OPENED}
    while todo:
        state = todo.pop()
        reached.add(state)
        todo |= {rule.to for act, rule in RULES.items() if state in rule.states and act is not Act.REVIEW} - reached
    assert reached == {CaseState.OPENED, CaseState.CHECKED, CaseState.REJECTED, CaseState.WITHDRAWN}


def test_a_change_that_fails_leaves_nothing(register: Register) -> None:
    """An act and its event are committed together, or neither."""

    def fail() -> None:
        with register.changing() as change:
            change.act(change.cases()[0], Act.CHECK, PROGRAM)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with register.reading() as reading:
        assert reading.cases()[0].state is CaseState.OPENED
        assert len(list(reading.events())) == 1


@pytest.mark.parametrize("statement", ["delete from events", "update events set actor = 'x'"])
def test_the_log_only_grows(register: Register, statement: str) -> None:
    """The file itself refuses to change or delete an event; one that was changed past it is named."""
    with pytest.raises((sqlite3.IntegrityError, HomeFailed)), register.changing() as change:
        change.db.execute(statement)
    with register.changing() as change:
        change.act(change.cases()[0], Act.CHECK, PROGRAM)
        change.db.execute("drop trigger events_stay")
        change.db.execute("update events set actor = 'curator/mallory' where number = 2")
        assert change.verified().broken_at == 2


def test_the_register_follows_what_is_open(tmp_path: Path, register: Register) -> None:
    """What is opened is entered once; what was purged is withdrawn, and opened where it comes again.

    What is only away, as before a restored home has its studies again, keeps its state.
    """
    first, second = write_opened(tmp_path / "more", 1), write_opened(tmp_path / "more", 2, site="654321")
    for opened, purged, states in [
        ([first, second], [], ["opened", "opened"]),
        ([second], [], ["opened", "opened"]),
        ([second], [first.submission], ["withdrawn", "opened"]),
        ([second], [first.submission], ["withdrawn", "opened"]),
        ([first, second], [first.submission], ["opened", "opened"]),
    ]:
        register.follow(opened, purged)
        with register.reading() as reading:
            assert [case.state for case in reading.cases()] == states
            assert [case.study for case in reading.cases()] == [first.contents.study, second.contents.study]
    with register.reading() as reading:
        assert [event.action for event in reading.events()] == ["open", "open", "withdraw", "open"]


def test_what_a_later_submission_replaced_is_withdrawn(tmp_path: Path, register: Register) -> None:
    """Of two submissions of a study the later is opened, and the earlier withdrawn."""
    later = write_opened(tmp_path / "later", 1, files={"2.25.10001.1.1": b"another film"})
    register.follow([later], ())
    with register.reading() as reading:
        assert [case.state for case in reading.cases()] == ["withdrawn", "opened"]
        assert reading.cases()[1].submission == later.submission
