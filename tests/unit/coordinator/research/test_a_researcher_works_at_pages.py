"""A researcher's pages show what the commands show, check a plan by the same sentences, and know no other's runs."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from coordinator.federation.proposals import asker_named
from coordinator.home.init import open_home_store
from coordinator.research.console.pages import Role
from coordinator.research.console.served import make_console
from coordinator.research.home import ResearcherHome
from coordinator.research.plans import TEMPLATES
from coordinator.store.records import Run
from shared.web.people import People
from shared.web.store import Store
from tests.factories.consoles import SETTINGS, Browser
from tests.factories.federation import Federation, running_federation
from tests.factories.rows import make_run

ROUNDS = (
    '{"rounds":[{"round":1,"training_images":9,"training_loss":0.7,"auc":0.5,"sites":[]},{"round":2,'
    '"training_images":9,"training_loss":0.4,"auc":0.625,"sites":[{"site_id":"123456","images":4,"auc":0.75,"loss":null}]}],'
    '"refusals":[],"model":"round-2.safetensors","model_sha256":null}'
)


def make(number: int, researcher: str, state: str = "done") -> Run:
    run = make_run(number)
    plan = run.plan.model_copy(update={"researcher": researcher, "aim": f"<i>Question {number}</i>"})
    changes = {
        "plan": plan,
        "state": state,
        "actor": asker_named(researcher),
        "result": ROUNDS,
        "started_at": run.created_at,
    }
    return run.model_copy(update=changes)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Two trainings of rita's, one of another's, and one that goes on."""
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.researcher("rita")
        store = open_home_store(running.home, running.settings)
        with store.begin() as work:
            for run in (make(2, "rita"), make(4, "rita"), make(6, "otto"), make(8, "rita", "running")):
                work.put_run(run)
        store.close()
        yield running


@contextmanager
def pages(home: ResearcherHome) -> Iterator[Browser]:
    """The pages, opened by their link."""
    with closing(Store(None)) as store:
        browser = Browser(make_console(home, SETTINGS, store))
        link = f"/invitation/{People(store).invite('rita', Role.RESEARCHER)}"
        browser.open(link)
        assert browser.send(link) == 303
        yield browser


@pytest.fixture
def browser(federation: Federation) -> Iterator[Browser]:
    with pages(ResearcherHome(federation.folder / "rita")) as opened:
        opened.open("/")
        yield opened


def test_runs_are_ones_own(browser: Browser) -> None:
    """Another's is neither listed nor shown, and what a run is for is text."""
    page = browser.open("/")
    assert [make_run(number).id in page for number in (2, 4, 6, 8)] == [True, True, False, True]
    assert "&lt;i&gt;Question 2&lt;/i&gt;" in page
    assert browser.get(f"/runs/{make_run(6).id}").status_code == 404


def test_a_run_is_shown_with_its_curves(browser: Browser) -> None:
    """Of all sites, and of the one that shows its own; a run that goes on renews itself, one that ended does not."""
    page = browser.open(f"/runs/{make_run(2).id}")
    assert page.count("<polyline") == 3
    assert "hx-get" not in page
    assert "hx-get" in browser.open(f"/runs/{make_run(8).id}")
    text = browser.get(f"/runs/{make_run(2).id}/csv").text
    assert text.splitlines()[2].startswith("2,,")
    assert browser.get(f"/runs/{make_run(2).id}/model/last").status_code == 404
    assert browser.get(f"/runs/{make_run(2).id}/model/other").status_code == 400


def test_trainings_are_compared(browser: Browser) -> None:
    """Two or more, each with its last figures and its lines; one, or one without a round, is a sentence."""
    first, second = make_run(2).id, make_run(4).id
    both = browser.post("/compare", content=f"csrf={browser.csrf}&run={first}&run={second}".encode(), headers=FORM)
    assert both.status_code == 200
    assert both.text.count("0.625") == 2
    assert re.findall(r"<li class=\"line-\d\">([^<]+)</li>", both.text)[:2] == [first, f"{first}, site 123456"]
    assert browser.send("/compare", run=first) == 400
    assert "choose 2 to 6" in browser.said.text


FORM = {"Origin": "http://127.0.0.1:8444", "Content-Type": "application/x-www-form-urlencoded"}
GOOD = TEMPLATES["statistics"].replace('aim = ""', 'aim = "How many?"')


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (TEMPLATES["training"], "`aim` says in one sentence"),
        (GOOD.replace("minimum_sites", "minimum_site"), "write `minimum_sites`"),
        (GOOD.replace('"ricord" ', '"other" '), "cohort"),
        (GOOD.replace("= 3600", "= soon"), "the plan"),
        (GOOD, "0 sites take part, the minimum is 3"),
    ],
)
@pytest.mark.parametrize("propose", ["", "yes"])
def test_a_plan_is_judged_by_the_same_sentences(browser: Browser, plan: str, says: str, propose: str) -> None:
    """Checked or proposed; what was typed stays on the page, and nothing is asked."""
    browser.open("/plan")
    assert browser.send("/plan", plan=plan, propose=propose) == 400
    assert says.replace("`", "") in re.sub(r"</?code>", "", browser.said.text)
    assert "<textarea" in browser.said.text
    assert plan.splitlines()[2].split("#")[0].replace('"', "&#34;") in browser.said.text


def test_each_purpose_has_its_beginning(browser: Browser) -> None:
    """And nothing else has."""
    for purpose in TEMPLATES:
        assert f"purpose = &#34;{purpose}&#34;" in browser.open(f"/plan?purpose={purpose}")
    assert browser.get("/plan?purpose=other").status_code == 400


def test_a_coordinator_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    """On each page that asks it."""
    with running_federation(tmp_path) as federation:
        home = federation.researcher("rita")
    with pages(home) as browser:
        for path in ("/", f"/runs/{make_run(2).id}"):
            answer = browser.get(path)
            assert answer.status_code == 503
            assert "No coordinator answers at" in answer.text
        browser.open("/plan")
        assert browser.send("/plan", plan=GOOD) == 400
        assert "No coordinator answers at" in browser.said.text
