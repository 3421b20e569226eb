"""The table of requests, and the settings that spare the PACS."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import Part, RequestState
from site_node.settings.dimse import PacsSettings, ScpSettings
from tests.factories.pacs import key_of

PACS = {"host": "h", "port": 104, "ae_title": "PACS"}


def test_a_request_cannot_end_with_a_difference(tmp_path: Path) -> None:
    """Announced is arrived plus failed, and failures have a reason; other counts do not end a request."""
    requests = Ledger(tmp_path / "ledger.sqlite").requests
    requests.add(["a"])
    key = key_of("1.2")
    for part in (
        Part(key=key, announced=3, arrived=2),
        Part(key=key, announced=3, arrived=2, failed=1),
        Part(key=key, announced=3, arrived=3, reason="no-answer"),
    ):
        with pytest.raises(ValueError, match="reconciled"):
            requests.reconcile("a", [part])
    requests.reconcile("a", [Part(key=key, announced=3, arrived=2, failed=1, reason="no-answer")])
    counts = requests.counts()
    assert (counts.announced, counts.arrived, counts.failed, counts.expected) == (3, 2, 1, 0)
    assert requests.incomplete_studies() == {key}


def test_a_study_is_awaited_while_more_of_it_is_expected(tmp_path: Path) -> None:
    """From the announcement to the end, also over a restart; a complete request clears an earlier incomplete one."""
    requests = Ledger(tmp_path / "ledger.sqlite").requests
    key = key_of("1.2")
    requests.add(["a"])
    assert not requests.awaited_studies()
    requests.announced("a", [Part(key=key, announced=2)])
    assert Ledger(tmp_path / "ledger.sqlite").requests.awaited_studies() == {key}
    requests.retry_later("a", attempts=1, seconds=60, reason="no-answer", parts=[Part(key=key, announced=2, arrived=1)])
    assert requests.awaited_studies() == {key}
    assert requests.next_due(datetime.now(UTC)) is None
    later = requests.next_due(datetime.now(UTC) + timedelta(seconds=61))
    assert later is not None
    assert (later.attempts, later.reason, later.state) == (1, "no-answer", RequestState.RETRIEVING)
    requests.reconcile("a", [Part(key=key, announced=2, arrived=1, failed=1, reason="no-answer")])
    assert not requests.awaited_studies()
    assert requests.incomplete_studies() == {key}
    assert requests.reopen() == 1
    requests.reconcile("a", [Part(key=key, announced=2, arrived=2)])
    assert not requests.incomplete_studies()


@given(start=st.times(), end=st.times(), now=st.times())
def test_the_hours_may_go_over_midnight(start: time, end: time, now: time) -> None:
    """A window and its complement share no moment and leave none out, whichever of them spans midnight."""
    start, end = start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    if start == end:
        return
    window, complement = (
        PacsSettings.model_validate({**PACS, "hours": f"{opens:%H:%M}-{closes:%H:%M}"})
        for opens, closes in ((start, end), (end, start))
    )
    assert window.is_open(now) != complement.is_open(now)


def test_the_wait_doubles_up_to_an_hour() -> None:
    """A PACS that is down is asked ever more rarely, but at least once an hour."""
    settings = PacsSettings.model_validate({**PACS, "retry_seconds": 30})
    waits = [settings.wait_seconds(attempts) for attempts in range(1, 12)]
    assert waits[:3] == [30, 60, 120]
    assert max(waits) == waits[-1] == 3600
    assert waits == sorted(waits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"callers": []},
        {"callers": ["*\\"]},
        {"callers": [""]},
        {"callers": ["A" * 17]},
        {"callers": [" A"]},
        {"port": 0},
    ],
)
def test_nobody_is_let_in_by_mistake(wrong: dict[str, object]) -> None:
    """An empty allow-list, or an invalid title, stops the start."""
    with pytest.raises(ValidationError):
        ScpSettings.model_validate({"port": 11112, "callers": ["PACS"], **wrong})


@pytest.mark.parametrize("hours", ["20-6", "24:00-06:00", "20:00", "20:00-06:60", ""])
def test_invalid_hours_stop_the_start(hours: str) -> None:
    with pytest.raises(ValidationError):
        PacsSettings.model_validate({**PACS, "hours": hours})
