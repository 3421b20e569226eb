"""What cannot be read, drawn or written is a sentence on the page, and everything else goes on."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.durable import write_whole
from site_node.blanking import FINDINGS_FILE
from site_node.console.roles import Role
from site_node.home.database import open_database
from site_node.home.ledger import State
from tests.factories.consoles import Browser
from tests.factories.federation import running_federation
from tests.factories.site_consoles import Site, add_burned, site_console

ROWS, WRONG = 20_000, 5  # of each row: method, timing, age, sex and status
HEAD = "mrn,covid_status,covid_method,covid_timing,age,sex\n"
BOUNDARY = "b0undary"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_console(tmp_path / "home") as opened:
        yield opened


def upload(browser: Browser, path: str, data: bytes) -> int:
    """Send a file as a browser does; the status of the answer."""
    browser.open(path)
    part = 'Content-Disposition: form-data; name="{}"'
    csrf = (f"--{BOUNDARY}", part.format("csrf"), "", browser.csrf)
    file = (f"--{BOUNDARY}", part.format('file"; filename="s.csv'), "", "")
    content = "\r\n".join((*csrf, *file)).encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Origin": "http://127.0.0.1:8444", "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    browser.said = browser.post(path, content=content, headers=headers)
    return browser.said.status_code


@pytest.mark.slow
def test_a_hundred_thousand_cells_that_are_wrong_are_shown_in_parts(site: Site) -> None:
    """How many there are, of which kinds, and a part of them with their cells; the page stays small."""
    reviewer = site.person(Role.REVIEWER)
    sheet = HEAD + "".join(f"P{number},perhaps,guess,soon,old,other?\n" for number in range(ROWS))
    assert upload(reviewer, "/clinical", sheet.encode()) == 303
    page = reviewer.open(reviewer.said.headers["location"])
    assert f"{ROWS * WRONG:,}".replace(",", "") in re.sub(r"\D", "", page.partition("seen")[0][-60:])
    assert len(page) < 200_000
    last = re.search(r"Part 1 of (\d+)", page)
    assert last is not None
    assert f"F{ROWS + 1}" in reviewer.open(f"{reviewer.said.headers['location']}?page={last[1]}")
    assert site.ledger.sheets.all() == {}


@pytest.mark.parametrize("broken", ["missing", "no picture", "findings"])
def test_a_study_that_cannot_be_drawn_is_decided_on(site: Site, broken: str) -> None:
    """Its page says what there is; it can be rejected, and a study beside it is reviewed as ever."""
    bad, good = (add_burned(site.home, site.ledger, f"burned-{name}") for name in ("bad", "good"))
    folder = site.home.quarantine / bad
    if broken == "missing":
        (folder / "0.png").unlink()
    else:
        write_whole(folder / ("0.png" if broken == "no picture" else FINDINGS_FILE), b"no such thing")
    reviewer = site.person(Role.REVIEWER)
    picture = reviewer.get(f"/review/{bad}/picture/0")
    assert picture.status_code in {200, 404}
    seen = re.search(r'name="seen" value="([^"]+)"', reviewer.open(f"/review/{bad}"))
    assert seen is not None
    assert reviewer.send(f"/review/{bad}/reject", reason="cannot be drawn", seen=seen[1]) == 303
    assert site.ledger.study(bad).state is State.EXCLUDED
    assert reviewer.get(f"/review/{good}").status_code == 200


def test_a_full_disk_decides_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says that the disk is full; with room again the same form decides."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER)
    seen = re.search(r'name="seen" value="([^"]+)"', reviewer.open(f"/review/{key}"))
    assert seen is not None
    before = site.ledger.audit("Ann", "looked", key, "y" * 2500)  # fills a page

    def without_room(file: Path, *, durable: bool) -> sqlite3.Connection:
        database = open_database(file, durable=durable)
        database.execute("pragma max_page_count = 1")  # SQLite takes as many as there are, and no more
        return database

    with monkeypatch.context() as patch:
        patch.setattr("site_node.home.ledger.open_database", without_room)
        assert reviewer.send(f"/review/{key}/release", reason="x" * 1990, seen=seen[1]) == 429
    assert "no room left" in reviewer.said.text
    assert site.ledger.study(key).state is State.QUARANTINED
    assert [event.number for event in site.ledger.events()] == [before]
    assert reviewer.send(f"/review/{key}/release", reason="seen", seen=seen[1]) == 303


def test_a_coordinator_that_is_away_signs_nothing(tmp_path: Path) -> None:
    """What is offered cannot be read then; the page says where nobody answers."""
    with running_federation(tmp_path / "federation") as federation:
        token = federation.invite("North Hospital")
    with site_console(tmp_path / "home") as site:
        signatory = site.person(Role.SIGNATORY)
        signatory.open("/agreement")
        assert signatory.send("/agreement/read", token=token) == 503
        assert "No coordinator answers at" in signatory.said.text
        signatory.open("/agreement")
        assert signatory.send("/agreement/read", token="RICORD1-not-a-token") == 401
