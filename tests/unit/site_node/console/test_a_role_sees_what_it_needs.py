"""Who looks at counts sees no image, who looks at images signs nothing, and nobody is shown a way that is closed."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from site_node.console.roles import ROLES, Role
from site_node.console.site import make_console
from tests.factories.consoles import SETTINGS, Browser
from tests.factories.site_consoles import Site, add_burned, site_console

PATIENT = "patient of burned"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_console(tmp_path / "home") as site:
        yield site


def path_of(row: str, key: str) -> str:
    """A path of the table with names filled in."""
    path = row.split()[1].replace("{study}", key).replace("{number}", "0").replace("{run}", "R-0123456789ab")
    return path.replace("{sheet}", "0" * 12)


@pytest.mark.parametrize("role", Role)
def test_every_row_of_the_table_holds(site: Site, role: Role) -> None:
    """A page is refused to every role that its row does not name, and to nobody else."""
    key = add_burned(site.home, site.ledger, "burned")
    browser = site.person(role)
    for row, allowed in ROLES.items():
        path = path_of(row, key)
        status = browser.get(path).status_code if row.startswith("GET") else browser.send(path)
        assert (status == 403) == (role not in allowed), row
        assert status != 500, row


def test_a_stranger_sees_nothing(site: Site) -> None:
    """Every page sends to the sign-in, and every form is refused."""
    key = add_burned(site.home, site.ledger, "burned")
    browser = Browser(make_console(site.home, SETTINGS, site.store))
    browser.open("/sign-in")
    for row in ROLES:
        path = path_of(row, key)
        if row.startswith("GET"):
            assert browser.get(path).headers["location"] == "/sign-in"
        else:
            assert browser.send(path, reason="x") == 401
    assert site.ledger.events() == ()


def test_no_page_shows_a_way_that_is_closed(site: Site) -> None:
    """Links and forms of every page lead where the person may go."""
    add_burned(site.home, site.ledger, "burned")
    for role in Role:
        browser, waiting, done = site.person(role), ["/"], set[str]()
        while waiting:
            path = waiting.pop()
            if path in done or path.startswith(("/assets", "/sign-out")):
                continue
            done.add(path)
            page = browser.open(path)
            waiting += re.findall(r'(?:href|src|hx-get)="(/[^"#]*)"', page)
            for action in re.findall(r'action="([^"]+)"', page):
                assert action == "/sign-out" or browser.send(action) != 403, (role, path, action)
        assert len(done) > 3


def test_nothing_of_a_patient_is_on_a_page_or_in_its_address(site: Site) -> None:
    """Pages, titles and links hold keys, codes and counts."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER)
    for path in ("/", "/review", f"/review/{key}", "/audit", "/left", "/federated"):
        page = reviewer.open(path)
        assert PATIENT not in page
        assert "burned.0" not in page
        assert str(site.home.folder) not in page


@pytest.mark.parametrize("number", ["1", "..%2f0", "0.png", "99999999", "-1", "%00", "٣"])
def test_a_picture_is_a_number(site: Site, number: str) -> None:
    """Another name is no picture, wherever it would lead."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER)
    assert reviewer.get(f"/review/{key}/picture/0").headers["content-type"] == "image/png"
    assert reviewer.get(f"/review/{key}/picture/{number}").status_code == 404
    assert reviewer.get(f"/review/..%2f{key}/picture/0").status_code == 404


def test_what_was_decided_on_has_no_picture(site: Site) -> None:
    """A study that does not wait is refused by a sentence."""
    key = add_burned(site.home, site.ledger, "burned")
    reviewer = site.person(Role.REVIEWER)
    for file in (site.home.quarantine / key).iterdir():
        file.unlink()
    assert reviewer.get(f"/review/{key}/picture/0").status_code == 404
    assert "no picture to show" in reviewer.open(f"/review/{key}")
    assert reviewer.get(f"/review/{'0' * 32}").status_code == 404
