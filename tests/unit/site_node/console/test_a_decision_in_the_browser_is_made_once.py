"""What a person decides at a page is what the command would decide, in their name, once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.ids import StudyKey
from site_node.console.roles import Role
from site_node.home.ledger import State
from tests.factories.consoles import Browser
from tests.factories.site_consoles import Site, add_burned, site_console


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_console(tmp_path / "home") as site:
        yield site


def seen_at(browser: Browser, key: StudyKey) -> str:
    """What the study's page says it shows."""
    match = re.search(r'name="seen" value="([^"]+)"', browser.open(f"/review/{key}"))
    assert match is not None
    return match[1]


def decisions_of(site: Site) -> list[tuple[str, str, str]]:
    return [(event.actor, event.action, event.detail) for event in site.ledger.events()]


def test_boxes_of_a_page_are_blanked(site: Site) -> None:
    """Found, drawn and typed boxes alike, by who is signed in; the study goes on."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER, "Dr. A. Miller")
    fields = {"seen": seen_at(reviewer, key), "reason": "a name  in the corner"}
    sent = {**fields, "box": "0.png:10,10,60,30", "typed": "0.png:100,0,120,20\n 0.png:0,200,9,256"}
    assert reviewer.send(f"/review/{key}/blank", **sent) == 303
    assert reviewer.said.headers["location"] == "/review?notice=blanked"
    assert "are to be blanked" in reviewer.open("/review?notice=blanked")
    assert site.ledger.study(key).state is State.RECEIVED
    blanking = site.ledger.blanking(key)
    assert blanking is not None
    assert [(box.left, box.top, box.right, box.bottom) for box in blanking.boxes] == [
        (10, 10, 60, 30),
        (100, 0, 120, 20),
        (0, 200, 9, 256),
    ]
    assert {box.instance for box in blanking.boxes} == {"1.2.3"}
    assert decisions_of(site) == [("Dr. A. Miller", "blank", "a name in the corner [3 boxes in 1 frames]")]


@pytest.mark.parametrize(("action", "state"), [("release", State.RECEIVED), ("reject", State.EXCLUDED)])
def test_a_form_that_is_sent_twice_decides_once(site: Site, action: str, state: State) -> None:
    """The second answer is a sentence that says where the study is."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER)
    fields = {"seen": seen_at(reviewer, key), "reason": "seen by me"}
    assert [reviewer.send(f"/review/{key}/{action}", **fields) for _ in range(2)] == [303, 409]
    assert f"it is {state.value}" in reviewer.said.text
    assert site.ledger.study(key).state is state
    assert decisions_of(site) == [("Dr. Reviewer", action, "seen by me")]


def test_of_two_reviewers_one_decides(site: Site) -> None:
    """Who decides on what has changed meanwhile is asked to look anew, also where it waits again."""
    key = add_burned(site.home, site.ledger, "burned")
    first, second = site.person(Role.REVIEWER, "Ann"), site.person(Role.REVIEWER, "Bob")
    seen = seen_at(first, key)
    assert seen_at(second, key) == seen
    assert first.send(f"/review/{key}/release", seen=seen, reason="a side marker") == 303
    entry = site.ledger.study(key)
    site.ledger.advance(key, State.QUARANTINED, reasons=entry.reasons)
    assert second.send(f"/review/{key}/reject", seen=seen, reason="a phantom") == 409
    assert "has changed since you opened the page" in second.said.text
    assert site.ledger.study(key).state is State.QUARANTINED
    assert [actor for actor, _, _ in decisions_of(site)] == ["Ann"]


@pytest.mark.parametrize(
    ("boxes", "reason", "seen"),
    [
        ("0.png:0,0,5", "why", None),
        ("1.png:0,0,5,5", "why", None),
        ("../../keys/signing.pem:0,0,5,5", "why", None),
        ("0.png:300,300,400,400", "why", None),
        ("0.png:9,9,9,9", "why", None),
        ("", "why", None),
        ("0.png:0,0,5,5", "  ", None),
        ("0.png:0,0,5,5", "why", "yesterday"),
        ("0.png:0,0,5,5", "why", "2024-01-01T00:00:00"),
        ("0.png:0,0,5,5", "why", ""),
    ],
)
def test_a_box_outside_and_an_empty_reason_decide_nothing(
    site: Site, boxes: str, reason: str, seen: str | None
) -> None:
    """A sentence, and the study waits as before."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER)
    known = seen_at(reviewer, key)
    fields = {"box": boxes, "reason": reason, "seen": known if seen is None else seen}
    assert reviewer.send(f"/review/{key}/blank", **{name: text for name, text in fields.items() if text}) == 400
    assert site.ledger.study(key).state is State.QUARANTINED
    assert decisions_of(site) == []


def test_federated_work_is_stopped_once(site: Site) -> None:
    """By a signatory; a form that is sent twice stops it once."""
    signatory = site.person(Role.SIGNATORY, "Prof. B")
    signatory.open("/federated")
    assert [signatory.send("/federated/stop", reason="the board meets") for _ in range(2)] == [303, 303]
    assert site.ledger.plans.is_stopped()
    assert "Answer again" in signatory.open("/federated?notice=stopped")
    assert signatory.send("/federated/allow", reason="it has met") == 303
    assert not site.ledger.plans.is_stopped()
    assert [event[:2] for event in decisions_of(site)] == [("Prof. B", "federate-stop"), ("Prof. B", "federate-allow")]
