"""The first refusal of each caller and method in an hour is an event; failures of the centre are none."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from coordinator.store.sql import SqlStore, open_store
from coordinator.trust.refusals import noting_refusals
from shared.errors.base import InternalError, RicordError, code_of
from shared.errors.storage import StorageError
from shared.errors.transport import StoreUnreachable, TransportError
from shared.errors.tree import all_errors
from shared.errors.trust import RoleNotAllowed
from tests.factories.rows import NOW

METHOD = "/ricord.v1.SubmissionService/Upload"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield opened
    opened.close()


def results(store: SqlStore) -> list[str]:
    with store.read() as reading:
        return [event.result for event in reading.events()]


@pytest.mark.parametrize("kind", all_errors(), ids=code_of)
def test_each_error_is_an_event_if_it_refuses(store: SqlStore, kind: type[RicordError]) -> None:
    """What passes by itself, and a defect, is no refusal; the code is the result, and no field is in it."""
    noting_refusals(store, lambda: NOW)("site/1", METHOD, kind(problem="a secret", name="a secret"))
    passing = issubclass(kind, (StorageError, TransportError, InternalError))
    assert results(store) == ([] if passing else [f"refused: {code_of(kind)}"])


def test_nobody_floods_the_log(store: SqlStore) -> None:
    """A thousand refusals in an hour are one event for each caller and method, over a restart too; then another."""
    clock, kinds = [NOW], [kind for kind in all_errors() if not issubclass(kind, (StorageError, TransportError))]
    for note in (noting_refusals(store, lambda: clock[0]), noting_refusals(store, lambda: clock[0])):
        for number in range(500):
            note(f"site/{number % 2}", METHOD, kinds[number % 5]())
            note("a stranger", "/ricord.v1.EnrolmentService/Enrol", kinds[number % 5]())
    assert len(results(store)) == 3
    clock[0] += timedelta(hours=1)
    noting_refusals(store, lambda: clock[0])("site/1", METHOD, kinds[0]())
    assert len(results(store)) == 4
    with store.read() as reading:
        assert {event.action for event in reading.events()} == {"SubmissionService/Upload", "EnrolmentService/Enrol"}


def test_a_store_that_fails_does_not_change_the_refusal(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears why it was refused, whatever becomes of the event."""

    def fail() -> None:
        raise StoreUnreachable(kind="sqlite")

    monkeypatch.setattr(store, "begin", fail)
    with capture_logs() as logged:
        noting_refusals(store, lambda: NOW)("site/1", METHOD, RoleNotAllowed())
    assert [entry["event"] for entry in logged] == ["refusal-not-noted"]


def test_what_is_noted_asks_nothing_of_the_store(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second refusal of an hour waits for no other transaction; that of another method does."""
    note, begun, begin = noting_refusals(store, lambda: NOW), list[None](), store.begin

    def counted() -> Any:
        begun.append(None)
        return begin()

    monkeypatch.setattr(store, "begin", counted)
    for method, times in ((METHOD, 1), (METHOD, 1), ("/ricord.v1.EnrolmentService/Enrol", 2)):
        note("site/1", method, RoleNotAllowed())
        assert len(begun) == times
