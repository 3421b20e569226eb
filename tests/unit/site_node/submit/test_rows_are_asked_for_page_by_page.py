"""All rows of a site are read, or as many as were asked for; a coordinator that would never end is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.proto.ricord.v1 import submission_pb2 as pb
from site_node.submit import comparison
from site_node.submit.comparison import own_rows


class Coordinator:
    """Has rows 1 to `count`, and answers with `size` at most; a stuck one always says that the next page follows 3."""

    def __init__(self, count: int, size: int, *, is_stuck: bool = False) -> None:
        self._count, self._size, self._is_stuck = count, size, is_stuck
        self.asked = list[pb.ListSubmissionsRequest]()

    def answer(self, request: pb.ListSubmissionsRequest, timeout: float) -> pb.ListSubmissionsResponse:
        assert timeout
        copy = pb.ListSubmissionsRequest()
        copy.CopyFrom(request)
        self.asked.append(copy)
        size = min(self._size, request.limit or self._size)
        numbers = range(request.after + 1, self._count + 1)[:size]
        following = 3 if self._is_stuck else numbers[-1] if numbers and numbers[-1] < self._count else 0
        return pb.ListSubmissionsResponse(submissions=[pb.Submission(number=n) for n in numbers], next=following)


@contextmanager
def asking(monkeypatch: pytest.MonkeyPatch, coordinator: Coordinator) -> Iterator[None]:
    with monkeypatch.context() as patch:
        stub = SimpleNamespace(ListSubmissions=coordinator.answer)
        patch.setattr(comparison, "SubmissionServiceStub", lambda _: stub)
        patch.setattr(comparison, "member_of", Mock())
        patch.setattr(comparison, "member_channel", Mock(return_value=contextmanager(lambda: iter([None]))()))
        yield


@given(count=st.integers(0, 12), size=st.integers(1, 5), after=st.integers(0, 12), limit=st.integers(0, 12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_whole_and_once(
    monkeypatch: pytest.MonkeyPatch, *, count: int, size: int, after: int, limit: int
) -> None:
    """In order, from after a number on; no further page is asked for once there are enough."""
    coordinator = Coordinator(count, size)
    with asking(monkeypatch, coordinator):
        numbers = [row.number for row in own_rows(Mock(), after=after, limit=limit)]
    wanted = list(range(after + 1, count + 1))
    assert numbers == (wanted[:limit] if limit else wanted)
    assert len(coordinator.asked) == max(1, -(-len(numbers) // size))


def test_nothing_else_is_asked_than_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first on, all, in the order of arrival."""
    coordinator = Coordinator(3, 5)
    with asking(monkeypatch, coordinator):
        list(own_rows(Mock()))
    assert coordinator.asked == [pb.ListSubmissionsRequest()]


def test_a_coordinator_that_would_never_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A next page must lie behind this one."""
    coordinator = Coordinator(9, 3, is_stuck=True)
    with asking(monkeypatch, coordinator):
        assert [row.number for row in own_rows(Mock())] == [1, 2, 3, 4, 5, 6]
