"""What an operator decides at a page is what the command does, once, and the audit says who it was."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.console.roles import Role
from coordinator.home.init import open_home_store
from coordinator.research.plans import Statistics
from coordinator.store.records import Run
from shared.agreement import State
from site_node.home.folder import init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.amendment import read_amendment, sign_amendment
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from tests.factories.centre_consoles import CentreConsole, console_of
from tests.factories.consoles import Browser
from tests.factories.federation import Federation, make_federation, running_federation
from tests.factories.rows import make_run

TERMS = {
    "curator": "curator",
    "modes": "submit",
    "scope": "Chest imaging of one hospital",
    "modalities": "CT,DX",
    "licence": "CC BY-NC 4.0",
    "studies": "",
    "ethics_reference": "",
    "expires": "",
}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


@pytest.fixture
def console(federation: Federation) -> Iterator[CentreConsole]:
    with console_of(federation.home.folder) as opened:
        yield opened


def agreement_of(browser: Browser, name: str) -> str:
    """The id of a hospital's agreement, by the list."""
    match = re.search(rf'<a href="/sites/(A-[0-9a-f]+)">{re.escape(name)}<', browser.open("/"))
    assert match is not None
    return match[1]


def seen_on(page: str) -> str:
    match = re.search(r'name="seen" value="([^"]+)"', page)
    assert match is not None
    return match[1]


def decide(browser: Browser, agreement: str, what: str, **fields: str) -> int:
    """Open the agreement's page, and send one of its forms."""
    seen = seen_on(browser.open(f"/agreements/{agreement}"))
    return browser.send(f"/agreements/{agreement}/{what}", seen=seen, **fields)


def state_of(federation: Federation, name: str) -> State:
    with federation.reading() as reading:
        site = reading.site(name)
        assert site is not None
        agreement = reading.agreement(site.agreement)
    assert agreement is not None
    return agreement.state


def actors(federation: Federation) -> list[str]:
    with federation.reading() as reading:
        return [event.actor for event in reading.events() if event.actor.endswith(")")]


def test_an_agreement_goes_its_whole_way_at_pages(federation: Federation, console: CentreConsole) -> None:
    """Drafted, countersigned, amended and suspended by a person, whom each event names beside the certificate."""
    name, operator = "North Hospital", console.person(Role.OPERATOR, "Ann Müller")
    home, token = init_home(federation.folder / "north", name=name), federation.invite(name)
    agreement = agreement_of(operator, name)
    assert decide(operator, agreement, "draft", **TERMS) == 303
    read_agreement(home, token)
    sign_agreement(home, token, signatory="A. Signatory, Director")
    assert decide(operator, agreement, "execute") == 200
    join = re.search(r"RICORD1-[^<\s]+", operator.said.text)
    assert join is not None
    assert enrol(home, join[0]).agreement == agreement
    assert join[0] not in operator.open(f"/agreements/{agreement}")
    assert decide(operator, agreement, "draft", **TERMS | {"licence": "CC BY 4.0", "studies": "500"}) == 303
    page = operator.open(f"/agreements/{agreement}")
    assert re.search(r"<del>[^<]*CC BY-NC 4\.0\.</del>", page)
    assert re.search(r"<ins>[^<]*CC BY 4\.0\.</ins>", page)
    assert "its next version is drafted" in operator.open("/agreements")
    read_amendment(home)
    sign_amendment(home, signatory="B. Signatory, Director")
    assert "its next version is signed" in operator.open("/agreements")
    assert decide(operator, agreement, "execute") == 303
    page = operator.open(f"/sites/{agreement}")
    assert ["A. Signatory" in page, "B. Signatory" in page] == [True, True]
    assert decide(operator, agreement, "suspend") == 303
    assert state_of(federation, name) is State.SUSPENDED
    assert decide(operator, agreement, "execute") == 303
    assert state_of(federation, name) is State.EXECUTED
    named = actors(federation)
    assert len(named) == 6
    assert {actor.partition(" ")[2] for actor in named} == {"(Ann Müller)"}


def test_a_form_that_is_sent_twice_decides_once(federation: Federation, console: CentreConsole) -> None:
    """So does one of a page that shows what was before."""
    federation.site("South Hospital")
    operator, other = console.person(Role.OPERATOR, "Ann"), console.person(Role.OPERATOR, "Ben")
    agreement = agreement_of(operator, "South Hospital")
    seen = seen_on(operator.open(f"/agreements/{agreement}"))
    other.open(f"/agreements/{agreement}")
    assert other.send(f"/agreements/{agreement}/suspend", seen=seen) == 303
    before = actors(federation)
    assert operator.send(f"/agreements/{agreement}/suspend", seen=seen) == 409
    assert "changed" in operator.said.text
    assert actors(federation) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"studies": "many"}, "it is a number, or empty"),
        ({"expires": "tomorrow"}, "write it as 2027-12-31"),
        ({"expires": "9999-12-31"}, "write it as 2027-12-31"),
        ({"curator": " "}, "fill it in"),
        ({"curator": "nobody"}, "curator"),
        ({"modes": "submit,steal"}, "mode"),
        ({"modalities": "PAINTING"}, "modalit"),
    ],
)
def test_terms_that_are_none_are_a_sentence(
    federation: Federation, console: CentreConsole, changes: dict[str, str], says: str
) -> None:
    """Nothing is drafted, the hospital is where it was, and what was written stands on the page that says so."""
    name = f"Hospital without {', '.join(changes)} {says.split(maxsplit=1)[0]}"
    federation.invite(name)
    operator = console.person(Role.OPERATOR)
    assert decide(operator, agreement_of(operator, name), "draft", **TERMS | changes) in {400, 404}
    assert says in operator.said.text
    assert "--" not in re.sub(r"<[^>]*>", "", operator.said.text)
    entered = TERMS | {"scope": "What was written <b>"} | changes
    assert decide(operator, agreement_of(operator, name), "draft", **entered) == 400
    assert "What was written &lt;b&gt;" in operator.said.text
    assert all(f'value="{text}"' in operator.said.text for text in changes.values() if text.strip() and text[0] != "s")
    assert state_of(federation, name) is State.INVITED


@pytest.mark.parametrize("day", ["2031-12-31", "2030-02-28T12:30:00+00:00"])
def test_the_last_day_is_shown_as_it_was_written(federation: Federation, console: CentreConsole, day: str) -> None:
    """The form of the next version has the day, not the midnight after it, so that offering it again keeps the day."""
    name = f"Hospital until {day[:10]}"
    federation.invite(name)
    operator = console.person(Role.OPERATOR)
    agreement = agreement_of(operator, name)
    for _ in range(2):
        assert decide(operator, agreement, "draft", **TERMS | {"expires": day}) == 303
        assert f'name="expires" autocomplete="off" value="{day}"' in operator.open(f"/agreements/{agreement}")


def test_a_decision_while_the_coordinator_is_away_is_none(tmp_path: Path) -> None:
    """A sentence says so, nothing is kept, and the same form decides when the coordinator is back."""
    federation, name = make_federation(tmp_path), "North Hospital"
    with console_of(federation.home.folder) as console:
        with federation.serving():
            federation.curator()
            federation.invite(name)
            operator = console.person(Role.OPERATOR, "Ann")
            agreement = agreement_of(operator, name)
            seen = seen_on(operator.open(f"/agreements/{agreement}"))
        assert operator.send(f"/agreements/{agreement}/draft", seen=seen, **TERMS) == 503
        assert "No coordinator answers at" in operator.said.text
        with federation.serving():
            assert state_of(federation, name) is State.INVITED
            assert operator.send(f"/agreements/{agreement}/draft", seen=seen, **TERMS) == 303
            assert state_of(federation, name) is State.DRAFTED
        assert len(actors(federation)) == 1


@pytest.mark.parametrize(("what", "reason", "state"), [("decline", "Ask first.", "declined"), ("stop", "", "failed")])
def test_a_run_is_decided_on(
    federation: Federation, console: CentreConsole, what: str, reason: str, state: str
) -> None:
    """By whom the audit says; sent again the form changes nothing."""
    number = 101 if what == "stop" else 103
    run = make_run(number)
    put(federation, run if what == "stop" else proposed(federation, run))
    operator = console.person(Role.OPERATOR, f"Ann of {what}")
    assert f"/runs/{run.id}/{what}" in operator.open(f"/runs/{run.id}")
    fields = {"reason": reason} if reason else {}
    assert operator.send(f"/runs/{run.id}/{what}", **fields) == 303
    with federation.reading() as reading:
        after = reading.run(run.id)
    assert after is not None
    assert after.state == state
    operator.send(f"/runs/{run.id}/{what}", **fields)
    assert [actor for actor in actors(federation) if what in actor] == [f"coordinator/operator (Ann of {what})"]


def proposed(federation: Federation, run: Run) -> Run:
    """The run as a researcher's, which waits for an operator."""
    proposal = federation.researcher("rita").sign(Statistics(aim="How many?").request)
    return run.model_copy(update={"state": "proposed", "plan": run.plan.model_copy(update={"proposal": proposal})})


def put(federation: Federation, run: Run) -> None:
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        work.put_run(run)
    store.close()
