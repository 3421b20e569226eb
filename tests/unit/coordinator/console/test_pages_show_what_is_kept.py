"""What the centre's pages show of sites, submissions, cohorts, runs and the log is what the coordinator keeps."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from coordinator.cohort.released import ReleasedTable
from coordinator.console.roles import Role
from coordinator.home.init import open_home_store
from coordinator.store.interface import Work
from shared.manifest import canonical_json
from site_node.submit.client import submitting
from tests.factories.centre_consoles import CentreConsole, console_of
from tests.factories.cohorts import released_table
from tests.factories.federation import Federation, running_federation, sealed_bytes
from tests.factories.rows import NOW, make_cohort, make_run

MARKUP = "<script>alert(1)</script> Hospital"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Hospitals in several states, a gap among a site's submissions, a table, and a training with figures."""
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        running.invite(MARKUP)
        running.signed_site("Signed Hospital")
        home, member = running.site("North Hospital")
        with submitting(home, member) as submit:
            for sequence in (1, 2, 5):
                submit(sealed_bytes(home, member, 1000 * sequence, sequence=sequence))
        with working(running) as work:
            table = released_table()
            document = canonical_json(table).decode()
            work.add_cohort(make_cohort(1).model_copy(update={"id": table.id, "table": document}))
            rounds = (
                '{"rounds":[{"round":1,"training_images":9,"training_loss":0.7,"auc":0.5,"sites":[]},'
                '{"round":2,"training_images":9,"training_loss":0.4,"auc":null,"sites":'
                '[{"site_id":"123456","images":4,"auc":0.75,"loss":null}]}],'
                '"refusals":[{"round":2,"site_id":"419639","reason":"SITE_POLICY: <b>no</b>"}]}'
            )
            work.put_run(make_run(2, "done").model_copy(update={"result": rounds}))
            work.put_run(make_run(4, "running").model_copy(update={"progress": "round 3: waits for 123456"}))
        yield running


@contextmanager
def working(federation: Federation) -> Iterator[Work]:
    store = open_home_store(federation.home, federation.settings)
    with store.begin() as work:
        yield work
    store.close()


@pytest.fixture
def console(federation: Federation) -> Iterator[CentreConsole]:
    with console_of(federation.home.folder) as opened:
        yield opened


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_pipeline_says_who_is_where_for_how_long(federation: Federation, console: CentreConsole) -> None:
    """By state, with the days in it and what is next; a name with markup is text."""
    del federation
    page = console.person(Role.VIEWER).open("/")
    assert MARKUP not in page
    text = text_of(page)
    assert "Invited 1 the longest since today" in text
    assert "Signed 1 the longest since today" in text
    assert "Executed 1 the longest since today" in text
    assert text.index("Signed Hospital") < text.index("North Hospital")
    assert "never" in text


def test_a_site_is_shown_in_full(console: CentreConsole) -> None:
    """Its numbers that are missing, and each version of its agreement."""
    viewer = console.person(Role.VIEWER)
    match = re.search(r'<a href="(/sites/A-[0-9a-f]+)">North Hospital', viewer.open("/"))
    assert match is not None
    text = text_of(viewer.open(match[1]))
    assert "Numbers 3 to 4 did not arrive." in text
    assert "Version 1" in text
    assert "no node of it has reported yet" in text


def test_submissions_are_counted_by_week_site_and_state(console: CentreConsole) -> None:
    """All of this week, of the one site, sealed and not decided on."""
    text = text_of(console.person(Role.VIEWER).open("/submissions"))
    assert re.search(r"\d{4}-\d\d-\d\d 3 ", text)
    assert re.search(r"\d{6} 3 3 3 8\.0+ kB 2 ", text), text
    assert "Did not arrive" in text


def test_a_cohort_is_its_table_and_file(console: CentreConsole) -> None:
    """Every cell that is released is in the file, and what is hidden is a star in both."""
    table, viewer = released_table(), console.person(Role.VIEWER)
    assert f"/cohorts/{table.id}" in viewer.open("/cohorts")
    page = viewer.open(f"/cohorts/{table.id}")
    answer = viewer.get(f"/cohorts/{table.id}/csv")
    assert answer.headers["content-disposition"] == f'attachment; filename="{table.id}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    shown = [row["count"] for row in rows if row["count"].isdigit()]
    cells = {str(count) for count in ReleasedTable.model_validate(table).counts.values() if count is not None}
    assert set(shown) <= cells
    assert len(rows) > 5
    assert all(f">{count}<" in page for count in shown if count != "0")


def test_a_run_shows_its_rounds_and_who_refused(console: CentreConsole) -> None:
    """Figures of all sites and of each that shows its own; a reason with markup is text."""
    viewer = console.person(Role.VIEWER)
    page = viewer.open(f"/runs/{make_run(2).id}")
    assert all(each in page for each in ("pneumonia", "batch size", "local epochs"))  # also what is as usual
    text = text_of(page)
    assert "1 all of 0 9 0.7000 0.500" in text
    assert "123456 4 0.750" in text
    assert "Site 419639 in round 2: SITE_POLICY: &lt;b&gt;no&lt;/b&gt;" in text
    assert page.count("<polyline") == 3
    assert "hx-get" not in page


def test_a_run_names_who_is_not_in_its_figures(federation: Federation, console: CentreConsole) -> None:
    """Of each round, summed or not, the sites that neither answered nor refused; of one without figures nobody."""
    own = [{"site_id": "100000", "images": None, "auc": None, "loss": None}]
    common = {"training_images": 9, "training_loss": 0.7, "auc": None}
    rounds = [
        {"round": 1, "sites": own, **common},
        {"round": 2, "sites": [], "summed": ["100000", "100002"], **common},
        {"round": 3, "sites": [], **common},
    ]
    result = {"rounds": rounds, "refusals": [{"round": 1, "site_id": "100001", "reason": "SITE_POLICY"}]}
    run = make_run(6, "done")
    with working(federation) as work:
        work.put_run(run.model_copy(update={"result": json.dumps(result)}))
    text = text_of(console.person(Role.VIEWER).open(f"/runs/{run.id}"))
    assert re.findall(r"Round (\d) is without ([\d, ]+)\.", text) == [("1", "100002"), ("2", "100001")]


def test_text_with_markup_is_text_on_every_page(federation: Federation, console: CentreConsole) -> None:
    """Of a hospital, a run, a table and the log: it is shown, and nothing of it is an element."""
    run = make_run(8, "failed")
    with working(federation) as work:
        plan = run.plan.model_copy(update={"aim": MARKUP})
        work.put_run(run.model_copy(update={"plan": plan, "problem": MARKUP}))
        work.add_cohort(make_cohort(8).model_copy(update={"name": MARKUP}))
        work.append_event(at=NOW, actor=MARKUP, action=MARKUP, about=MARKUP)
    viewer = console.person(Role.VIEWER)
    match = re.search(r'<a href="/sites/(A-[0-9a-f]+)">&lt;script', viewer.open("/"))
    assert match is not None
    own = (f"/sites/{match[1]}", f"/agreements/{match[1]}", f"/runs/{run.id}", f"/runs/{run.id}/figures")
    for path in ("/", "/agreements", "/cohorts", "/runs", "/audit", *own):
        page = viewer.open(path)
        assert "<script>alert" not in page, path
        assert "&lt;script&gt;alert" in page, path


def test_a_run_that_goes_on_renews_its_figures_alone(console: CentreConsole) -> None:
    """What it waits for is asked for again by the page; the part has no frame around it."""
    viewer = console.person(Role.VIEWER)
    run = make_run(4).id
    assert f'hx-get="/runs/{run}/figures"' in viewer.open(f"/runs/{run}")
    part = viewer.get(f"/runs/{run}/figures").text
    assert "waits for 123456" in part
    assert "<html" not in part


def test_the_log_is_read_from_its_end(federation: Federation, console: CentreConsole) -> None:
    """Every event is on exactly one part of the list, the latest on the first."""
    with working(federation) as work:
        for number in range(150):
            work.append_event(at=NOW + timedelta(seconds=number), actor="a", action="tested", about=str(number))
        size = work.log_size()
    viewer = console.person(Role.VIEWER)
    numbers = list[int]()
    for page in range(1, -(-size // 100) + 1):
        numbers += map(int, re.findall(r'<td class="number">(\d+)</td>', viewer.open(f"/audit?page={page}")))
    assert numbers == list(range(size, 0, -1))
    assert viewer.get("/audit?page=0").status_code == 400
