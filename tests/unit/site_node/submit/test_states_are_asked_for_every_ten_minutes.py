"""A node asks at its first pass, then every ten minutes, where its submissions stand; no failure of that is its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import Mock, call

import pytest

from shared.errors.transport import CoordinatorUnreachable
from shared.logs import about
from site_node.submit import states
from site_node.submit.states import StatesWatch


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """What a watch calls, and the seconds of its clock."""
    made = SimpleNamespace(ask=Mock(), withdraw=Mock(), log=Mock(), seconds=0)
    clock = SimpleNamespace(
        min=datetime(1, 1, 1, tzinfo=UTC),
        now=lambda zone: datetime(2026, 5, 1, tzinfo=zone) + timedelta(seconds=made.seconds),
    )
    changes = {"fetch_states": made.ask, "withdraw_pending": made.withdraw, "log": made.log, "datetime": clock}
    for name, change in changes.items():
        monkeypatch.setattr(states, name, change)
    return made


@pytest.mark.parametrize("fails", [False, True])
def test_it_asks_every_ten_minutes(parts: SimpleNamespace, fails: bool) -> None:
    """Also where it could not; what is withdrawn here is withdrawn there at the same time."""
    watch, counts = StatesWatch(), list[int]()
    parts.ask.side_effect = CoordinatorUnreachable(address="centre") if fails else None
    for parts.seconds in (0, 1, 599, 600, 601, 1199, 1200):
        watch.ask_if_due(Mock(), Mock(), Mock())
        counts.append(parts.ask.call_count)
    assert counts == [1, 1, 1, 2, 2, 2, 3]
    assert parts.withdraw.call_count == (0 if fails else 3)
    problem = call.warning("states.problem", **about(CoordinatorUnreachable(address="centre")))
    assert parts.log.mock_calls == ([problem] * 3 if fails else [])
