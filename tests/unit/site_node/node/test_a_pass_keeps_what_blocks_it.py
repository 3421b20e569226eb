"""A pass that may send keeps what blocked it, for commands; one that may not, or ended early, says nothing of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors.base import ExitCode, RicordError
from shared.errors.transport import CoordinatorUnreachable
from shared.errors.trust import AuditContradicted
from site_node.home.ledger import STATE_ORDER, State
from site_node.membership.witness import Contradiction, Witness
from site_node.node import daily_proof, passes
from site_node.node.crew import Crew
from site_node.node.daily_proof import DailyProof
from site_node.node.obstacles import keep_obstacle, kept_obstacle
from site_node.node.open import Node, open_node
from site_node.node.passes import Pass, run_pass
from site_node.node.pipeline import Progress
from tests.factories.pipeline import key_of, make_home

ABSENT = CoordinatorUnreachable(address="nowhere:1")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_node(make_home(tmp_path / "home")) as node:
        yield node


@pytest.mark.parametrize("until", STATE_ORDER)
@pytest.mark.parametrize("is_halted", [False, True])
def test_only_a_whole_pass_that_may_send_says_what_blocks(
    node: Node, monkeypatch: pytest.MonkeyPatch, until: State, is_halted: bool
) -> None:
    """Another leaves what was kept before."""
    says = until is State.SUBMITTED and not is_halted
    for blocked, before in ((ABSENT, None), (None, ABSENT)):
        keep_obstacle(node.home, before)
        monkeypatch.setattr(
            passes, "_run_pass", lambda *_, end=blocked, **__: Pass(progress=Progress(moved=0, blocked=end))
        )
        run_pass(node, until, halted=lambda: is_halted)
        kept = kept_obstacle(node.home)
        assert (kept and kept.code) == (error.code if (error := blocked if says else before) else None)


def test_an_obstacle_has_begun_when_it_was_first_met(node: Node) -> None:
    """The same one again is one since then; another, also of the same kind, is a new one."""
    keep_obstacle(node.home, ABSENT)
    first = kept_obstacle(node.home)
    keep_obstacle(node.home, CoordinatorUnreachable(address="nowhere:1"))
    assert kept_obstacle(node.home) == first
    keep_obstacle(node.home, CoordinatorUnreachable(address="elsewhere:1"))
    second = kept_obstacle(node.home)
    assert first is not None
    assert second is not None
    assert second.since > first.since
    assert second.error.public == CoordinatorUnreachable(address="elsewhere:1").public
    keep_obstacle(node.home, None)
    keep_obstacle(node.home, None)
    assert kept_obstacle(node.home) is None


@pytest.mark.parametrize("state", State)
def test_the_exit_code_says_whether_all_went_well(state: State) -> None:
    """A study that ended and was not sent makes it partial; what blocked sending is graver."""
    ended_otherwise = state in {State.EXCLUDED, State.REFUSED, State.QUARANTINED}
    completed = Pass({key_of("a"): State.SUBMITTED, key_of("b"): state})
    assert completed.exit_code is (ExitCode.PARTIAL if ended_otherwise else ExitCode.DONE)
    completed.progress = Progress(moved=1, blocked=ABSENT)
    assert completed.exit_code is ABSENT.exit_code


@pytest.mark.parametrize(
    ("error", "is_again"), [(ABSENT, False), (AuditContradicted(problem="it was cut"), False), (None, True)]
)
def test_the_audit_log_is_asked_for_once_an_hour_after_a_failure(
    node: Node, monkeypatch: pytest.MonkeyPatch, error: RicordError | None, is_again: bool
) -> None:
    """And each day after a proof; a contradiction is an error in the log, everything else a warning."""
    asked = list[datetime]()

    def ask(_home: object, _member: object, now: datetime) -> SimpleNamespace:
        asked.append(now)
        if error is not None:
            raise error
        return SimpleNamespace(size=3)

    monkeypatch.setattr(daily_proof, "ask", ask)
    member: Any = None
    proof = DailyProof()
    with capture_logs() as logged:
        for _ in range(2):
            proof.ask_if_due(node.home, member)
    assert len(asked) == 1 + is_again
    level = "info" if error is None else "error" if isinstance(error, AuditContradicted) else "warning"
    assert {entry["log_level"] for entry in logged} == {level}
    proof._not_before -= timedelta(hours=1, seconds=1) if error is not None else timedelta(0)
    proof.ask_if_due(node.home, member)
    assert len(asked) == 2 + is_again
    Witness(node.home).stop(Contradiction(problem="it was cut", seen_at=datetime.now(UTC)))
    DailyProof().ask_if_due(node.home, member)
    assert len(asked) == 2 + is_again


def test_a_crew_that_is_there_works_and_stays(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass without one has its own, which ends with it."""
    asked = list[str]()

    class Noting(Crew):
        def workers(self, *_: object) -> None:
            asked.append("workers")

        def close(self) -> None:
            asked.append("close")

    monkeypatch.setattr(passes, "Crew", Noting)
    run_pass(node, State.INCLUDED, crew=Noting())
    assert asked == ["workers"]
    run_pass(node, State.INCLUDED)
    assert asked == ["workers", "workers", "close"]
