"""A reviewer, a signatory and a viewer do their work in a browser, by mouse, by keyboard and without scripts."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.ids import StudyKey
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger, State
from site_node.node.pipeline import Pipeline
from tests.factories.chromium import Watched, chromium
from tests.factories.consoles import PASSPHRASE
from tests.factories.pipeline import enter, make_stages, make_study
from tests.factories.ports import free_port
from tests.factories.site_consoles import add_burned, site_console
from tests.peers import check_no_defect

COMMAND = [sys.executable, "-c", "from site_node.cli import main; main()"]
PAGES = ("/", "/intake", "/review", "/clinical", "/agreement", "/federated", "/left", "/audit")
SHEET = "mrn,covid_status,covid_method,covid_timing,age,sex\nP1,positive,rt-pcr,,,\nP2,perhaps,rt-pcr,,,\n"

pytestmark = pytest.mark.slow


def ricord_site(home: SiteHome, *words: str) -> str:
    """What a command prints."""
    command = [*COMMAND, "--home", str(home.folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def served(home: SiteHome) -> Iterator[str]:
    """The console as a process of its own, on a free port; its address."""
    port = free_port()
    text = (
        home.settings_file.read_text().replace("# [console] ", "[console] ").replace("# port = 8420", f"port = {port}")
    )
    home.settings_file.write_text(text)
    command = [*COMMAND, "--home", str(home.folder), "console"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("ready: "), ready
            yield ready.removeprefix("ready: ").strip()
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            check_no_defect(said)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[tuple[SiteHome, Ledger, list[StudyKey]]]:
    """A home with studies that left, were excluded and refused, and three that wait for a reviewer."""
    with site_console(tmp_path / "home") as site:
        names = ("good-1", "good-2", "excluded-4", "review-5", "refused-6")
        enter(site.home, site.ledger, *(make_study(site.home, name) for name in names))
        Pipeline(site.home, site.ledger, make_stages(site.home, tmp_path / "submitted")).run()
        yield site.home, site.ledger, [add_burned(site.home, site.ledger, f"burned-{n}") for n in range(3)]


def test_people_walk_the_site_console(hospital: tuple[SiteHome, Ledger, list[StudyKey]], tmp_path: Path) -> None:
    """Every page is fit for everybody, complains of nothing, and asks nobody but this machine."""
    home, ledger, keys = hospital
    with served(home) as address, chromium() as browser:
        links = {
            role: ricord_site(home, "console", "invite", "--name", f"Dr. {role.title()}", "--role", role)
            for role in ("viewer", "reviewer", "signatory")
        }
        reviewer = Watched(browser, address)
        reviewer.page.goto(links["reviewer"])
        reviewer.check("invitation")
        reviewer.join(links["reviewer"], PASSPHRASE)
        for path in PAGES:
            reviewer.open(path)
            reviewer.check(path.strip("/") or "today")
        draw(reviewer, ledger, keys[0])
        by_keyboard(reviewer, ledger, keys[1])
        clinical(reviewer, tmp_path)
        signatory = Watched(browser, address, dark=True)
        signatory.join(links["signatory"], PASSPHRASE)
        signatory.check("today-dark")
        stop(signatory, ledger)
        without_scripts = Watched(browser, address, scripts=False)
        sign_in(without_scripts)
        plain(without_scripts, ledger, keys[2])
        ricord_site(home, "console", "remove", "--name", "Dr. Reviewer")
        reviewer.page.goto(f"{address}/review")
        assert reviewer.page.url.endswith("/sign-in")
        reviewer.check("sign-in")
        for watched in (reviewer, signatory, without_scripts):
            assert not watched.complaints
    listed = ricord_site(home, "console", "list")
    assert "Dr. Signatory" in listed
    assert "Dr. Reviewer" not in listed


def boxes_of(ledger: Ledger, key: StudyKey) -> list[tuple[int, int, int, int]]:
    blanking = ledger.blanking(key)
    assert blanking is not None
    return [(box.left, box.top, box.right, box.bottom) for box in blanking.boxes]


def draw(reviewer: Watched, ledger: Ledger, key: StudyKey) -> None:
    """By mouse: a box is drawn, a found one moved, what would be blanked is seen, and both are blanked."""
    page = reviewer.open(f"/review/{key}")
    page.wait_for_selector(".layer svg g")
    reviewer.check("review-study")
    frame = page.locator(".layer svg").bounding_box()
    assert frame is not None
    scale = frame["width"] / 256

    def at(x: int, y: int) -> tuple[float, float]:
        return frame["x"] + x * scale, frame["y"] + y * scale

    page.mouse.move(*at(100, 100))
    page.mouse.down()
    page.mouse.move(*at(150, 140), steps=3)
    page.mouse.up()
    page.mouse.move(*at(30, 20))
    page.mouse.down()
    page.mouse.move(*at(50, 60), steps=3)
    page.mouse.up()
    page.check(".after")
    page.locator(".bright").fill("150")
    reviewer.check("review-drawn")
    page.fill("#blank-reason", "names in two corners")
    page.click("text=Blank the boxes")
    page.wait_for_selector("text=are to be blanked")
    assert ledger.study(key).state is State.RECEIVED
    near = [(30, 50, 80, 70), (100, 100, 150, 140)]
    assert all(
        abs(side - wanted) <= 2
        for box, expected in zip(boxes_of(ledger, key), near, strict=True)
        for side, wanted in zip(box, expected, strict=True)
    )


def by_keyboard(reviewer: Watched, ledger: Ledger, key: StudyKey) -> None:
    """By keyboard alone, from the skip link to the decision: a box is moved, resized, added, removed."""
    page = reviewer.open(f"/review/{key}")
    page.wait_for_selector(".layer svg g")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    to(reviewer, "document.activeElement.matches('.layer g')")
    for press in ("ArrowRight", "Shift+ArrowDown", "Control+ArrowDown"):
        page.keyboard.press(press)
    assert page.get_attribute("input[name=box]", "value") == "0.png:20,11,70,41"
    back_to(reviewer, "document.activeElement.matches('.add')")
    page.keyboard.press("Enter")
    assert page.locator("input[name=box]").count() == 2
    page.keyboard.press("Delete")
    assert page.locator("input[name=box]").count() == 1
    to(reviewer, "document.activeElement.id == 'blank-reason'")
    page.keyboard.type("a name")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=are to be blanked")
    assert boxes_of(ledger, key) == [(20, 11, 70, 41)]


def to(reviewer: Watched, condition: str, key: str = "Tab") -> None:
    """Press Tab until the condition holds of what has the focus."""
    for _ in range(60):
        if reviewer.page.evaluate(condition):
            return
        reviewer.page.keyboard.press(key)
    raise AssertionError(condition)


def back_to(reviewer: Watched, condition: str) -> None:
    to(reviewer, condition, "Shift+Tab")


def clinical(reviewer: Watched, tmp_path: Path) -> None:
    """A sheet is looked at with its problem in the grid, then used."""
    (tmp_path / "sheet.csv").write_text(SHEET)
    page = reviewer.open("/clinical")
    page.set_input_files("#file", tmp_path / "sheet.csv")
    page.click("text=Look at it")
    page.wait_for_selector("text=can be used; 1 problem was seen")
    assert page.locator(".cell-bad").inner_text() == "B3"
    reviewer.check("clinical-sheet")
    page.click("text=Use this sheet")
    page.wait_for_selector("text=The sheet is used")
    reviewer.check("clinical-used")
    page.click("text=Rows without a study")
    reviewer.check("clinical-unmatched")


def stop(signatory: Watched, ledger: Ledger) -> None:
    """A signatory stops federated work; the page then offers the way back."""
    page = signatory.open("/federated")
    page.fill("#stop-reason", "the board meets")
    page.click("button:text-is('Stop')")
    page.wait_for_selector("text=No federated message is answered from now on")
    assert ledger.plans.is_stopped()
    signatory.check("federated-stopped-dark")


def sign_in(watched: Watched) -> None:
    page = watched.open("/sign-in")
    page.fill("#name", "Dr. Reviewer")
    page.fill("#passphrase", PASSPHRASE)
    page.click("button:text-is('Sign in')")
    page.wait_for_selector("text=Sign out")


def plain(reviewer: Watched, ledger: Ledger, key: StudyKey) -> None:
    """Without scripts: a found box is left out, another is typed; a study is rejected as well."""
    page = reviewer.open(f"/review/{key}")
    page.uncheck("input[name=box]")
    page.fill("#typed", "0.png:5,6,50,60")
    page.fill("#blank-reason", "seen")
    page.click("text=Blank the boxes")
    page.wait_for_selector("text=are to be blanked")
    assert boxes_of(ledger, key) == [(5, 6, 50, 60)]
    page = reviewer.open("/review")
    page.click("tbody a")
    assert re.search(r"/review/[0-9a-f]{32}$", page.url)
    page.fill("#reject-reason", "a phantom")
    page.click("text=Reject the study")
    page.wait_for_selector("text=is left out for good")
    assert ledger.events()[-1].action == "reject"
