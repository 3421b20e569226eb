"""Three readers and an adjudicator label films in a browser, by keys, while the curator's program serves the pages."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner

from coordinator.cli import app
from tests.factories.chromium import Watched, chromium
from tests.factories.consoles import PASSPHRASE
from tests.factories.opened import write_opened
from tests.factories.ports import free_port
from tests.factories.programs import process
from tests.factories.reading import film_of, invite, reading_room

NOTE = "<b onclick=alert(1)>left base</b>"
KEYS = {"reader 0": "1tyaep", "reader 1": "3bna", "reader 2": "2ow"}

pytestmark = pytest.mark.slow


def curate(home: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(app, ["--home", str(home), "curate", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output) if result.output else None


@contextmanager
def signed_in(browser: Browser, home: Path, name: str, role: str, *, scripts: bool = True) -> Iterator[Watched]:
    link = invite(home, name, role)
    watched = Watched(browser, link.partition("/invitation/")[0], scripts=scripts)
    watched.join(link, PASSPHRASE)
    yield watched
    watched.page.context.close()


def shown(page: Page) -> None:
    """Wait until every film of the page is drawn."""
    page.wait_for_selector(".film[data-shown]")
    expect(page.locator(".film[data-values]:not([data-shown])")).to_have_count(0)


def press(page: Page, keys: Iterable[str]) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_readers_and_an_adjudicator_walk_the_reading(tmp_path: Path) -> None:
    """Films are read and decided by keys alone; pages are fit for everybody and ask nobody but the curator's host."""
    (tmp_path / "curator.toml").write_text(f'protocol = "ricord"\n[reading]\nport = {free_port()}\n')
    with ExitStack() as stack:
        stack.enter_context(reading_room(tmp_path, count=2, film=film_of))
        browser = stack.enter_context(chromium())
        stack.enter_context(process("coordinator.cli", tmp_path, "curate", "reading", "serve", ready="ready"))
        for name, keys in KEYS.items():
            with signed_in(browser, tmp_path, name, "reader") as reader:
                read_all(reader, keys, name)
        with signed_in(browser, tmp_path, "dora", "adjudicator") as adjudicator:
            decide_all(adjudicator)
    labels = CliRunner().invoke(app, ["--home", str(tmp_path), "curate", "reading", "labels"]).output.splitlines()
    assert len(labels) == 2
    for label in map(json.loads, labels):
        appearance, grade = label["result"]["appearance"], label["result"]["grade"]
        assert (appearance["term"], appearance["how"]) == ("typical", "adjudicated")
        assert (grade["term"], grade["how"], grade["votes"]) == ("mild", "majority", [2, 1])
        assert sorted(read["note"] for read in label["reads"].values()) == ["", "", NOTE]


def read_all(reader: Watched, keys: str, name: str) -> None:
    """By keys: each film is answered; a draft outlives a reload, and another tab's read is refused without a reason."""
    page = reader.open("/")
    reader.check(f"reading-list-{name[-1]}")
    page.keyboard.press("Tab")
    page.locator("text=Read the next").focus()
    page.keyboard.press("Enter")
    shown(page)
    if name == "reader 0":
        first = page.url
        press(page, keys)
        expect(page.locator("input[value=mild]")).to_be_checked()
        page.wait_for_selector("text=Draft kept")
        page.reload()
        shown(page)
        expect(page.locator("input[value=mild]")).to_be_checked()
        expect(page.locator("input[value=pacemaker]")).to_be_checked()
        look(page)
        reader.check("reading-film")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=The read before is recorded")
        assert page.url != first
        shown(page)
        press(page, "4")
        expect(page.locator("input[value=mild]")).to_be_disabled()
        press(page, keys)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Nothing is left")
        other_tab(reader, first)
        return
    press(page, keys)
    if name == "reader 1":
        page.keyboard.press("/")
        page.keyboard.type(NOTE)
        page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The read before is recorded")
    shown(page)
    press(page, keys)
    if name == "reader 1":
        page.keyboard.press("/")
        page.keyboard.type(NOTE)
        page.keyboard.press("Control+Enter")
    else:
        page.keyboard.press("Enter")
    page.wait_for_selector("text=Nothing is left")


def look(page: Page) -> None:
    """The picture changes by window, inversion and zoom, by keys and by a drag; all films of a study change alike."""
    film = page.locator(".film").first
    state = film.locator(".state")
    before = state.inner_text()
    for key in "89v+":
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    assert state.inner_text() != before
    box = film.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 130, steps=4)
    page.mouse.up()
    page.wait_for_timeout(60)
    dragged = state.inner_text()
    film.focus()
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(60)
    assert state.inner_text() != dragged
    for key in "70v":
        page.keyboard.press(key)


def other_tab(reader: Watched, address: str) -> None:
    """The same study again: a correction asks for a reason, and is recorded with it."""
    page = reader.page
    page.goto(address)
    shown(page)
    press(page, "f")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=a correction needs a reason")
    expect(page.locator("input[value=feeding-tube]")).to_be_checked()
    reader.complaints = [each for each in reader.complaints if "409" not in each]
    page.fill("#reason", "a tube that I had not seen")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Nothing is left")


def decide_all(adjudicator: Watched) -> None:
    """Only what is undecided is asked; the three reads stand beside the film, and a note is text."""
    page = adjudicator.open("/")
    adjudicator.check("adjudication-list")
    page.click("text=Decide the next")
    for rest in (1, 0):
        shown(page)
        assert page.locator(".read").count() == 3
        assert NOTE in page.inner_text("form.answers")
        assert page.locator("fieldset").count() == 1
        if rest:
            adjudicator.check("adjudication-film")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=The decision before is recorded" if rest else "text=Nothing is undecided")


def test_a_held_key_answers_once(tmp_path: Path) -> None:
    """Enter that is held records the study that it was pressed for, and not the next, whatever its draft says."""
    (tmp_path / "curator.toml").write_text(f'protocol = "ricord"\n[reading]\nport = {free_port()}\n')
    with ExitStack() as stack:
        room = stack.enter_context(reading_room(tmp_path, count=2, film=film_of))
        browser = stack.enter_context(chromium())
        stack.enter_context(process("coordinator.cli", tmp_path, "curate", "reading", "serve", ready="ready"))
        reader = stack.enter_context(signed_in(browser, tmp_path, "reader 0", "reader"))
        desk = room.desk
        first, second = desk.left(desk.reader("reader 0"))
        page = reader.page
        for name in (second, first):
            reader.open(f"/studies/{name}")
            shown(page)
            page.keyboard.press("4")
            page.wait_for_selector("text=Draft kept")
        drawn = page.evaluate("films[0].drawn")
        page.locator(".film").focus()
        press(page, ["Shift+ArrowRight", "+", "0"])
        page.wait_for_timeout(100)
        assert page.evaluate("films[0].drawn") == drawn  # moved and zoomed, not windowed again
        for _ in range(40):
            page.keyboard.down("Enter")
            page.wait_for_timeout(30)
        page.keyboard.up("Enter")
        page.wait_for_selector("text=The read before is recorded")
        assert desk.submitted(desk.reader("reader 0")) == (first,)


def test_without_scripts_a_film_is_read_on_a_form(tmp_path: Path) -> None:
    """The picture is there, the form is sent as any form, and what is missing is said beside what was written."""
    (tmp_path / "curator.toml").write_text(f'protocol = "ricord"\n[reading]\nport = {free_port()}\n')
    with ExitStack() as stack:
        stack.enter_context(reading_room(tmp_path, count=1, film=film_of))
        browser = stack.enter_context(chromium())
        stack.enter_context(process("coordinator.cli", tmp_path, "curate", "reading", "serve", ready="ready"))
        reader = stack.enter_context(signed_in(browser, tmp_path, "reader 0", "reader", scripts=False))
        page = reader.open("/")
        page.click("text=Read the next")
        image = page.locator(".film img")
        expect(image).to_have_js_property("naturalWidth", 400)
        page.check("input[value=left-mid]")
        page.click("text=Record it")
        assert "it says no appearance" in page.inner_text("main")
        assert page.is_checked("input[value=left-mid]")
        page.check("input[value=typical]")
        page.click("text=Record it")
        page.wait_for_selector("text=Nothing is left")
        curate(tmp_path, "reader", "list")
        CliRunner().invoke(app, ["--home", str(tmp_path), "curate", "reader", "remove", "reader 0"])
        page.reload()
        page.wait_for_selector("text=Sign in")


def test_two_films_side_by_side_follow_fingers_and_keys(tmp_path: Path) -> None:
    """On a tablet: both films of a study beside each other, a finger windows what it touches, two zoom it."""
    (tmp_path / "curator.toml").write_text(f'protocol = "ricord"\n[reading]\nport = {free_port()}\n')
    with ExitStack() as stack:
        room = stack.enter_context(reading_room(tmp_path, count=0))
        write_opened(room.opened, 1, files={"2.25.1.1": film_of(1), "2.25.1.2": film_of(2, shape=(300, 240))})
        room.enter()
        browser = stack.enter_context(chromium())
        stack.enter_context(process("coordinator.cli", tmp_path, "curate", "reading", "serve", ready="ready"))
        link = invite(tmp_path, "reader 0", "reader")
        reader = Watched(browser, link.partition("/invitation/")[0], touch=True)
        reader.join(link, PASSPHRASE)
        page = reader.open("/")
        page.tap("text=Read the next")
        shown(page)
        films = page.locator(".film")
        left, right = films.nth(0).bounding_box(), films.nth(1).bounding_box()
        assert left is not None
        assert right is not None
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] <= right["x"]
        assert abs(left["width"] - right["width"]) < 2
        before = [films.nth(number).locator(".state").inner_text() for number in (0, 1)]
        touch = page.context.new_cdp_session(page)
        x, y = right["x"] + 60, right["y"] + 60

        def fingers(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": across, "y": down, "id": number} for number, (across, down) in enumerate(places)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", (x, y))
        fingers("touchMove", (x + 50, y + 30))
        fingers("touchEnd")
        page.wait_for_timeout(100)
        windowed = films.nth(1).locator(".state").inner_text()
        assert windowed != before[1]
        fingers("touchStart", (x, y), (x + 40, y))
        fingers("touchMove", (x - 20, y), (x + 90, y))
        fingers("touchEnd")
        page.wait_for_timeout(100)
        assert films.nth(1).locator(".state").inner_text().rpartition(",")[2] != windowed.rpartition(",")[2]
        assert films.nth(0).locator(".state").inner_text() == before[0]
        reader.check("reading-two-films")
        page.tap("input[value=negative]")
        page.tap("text=Record it")
        page.wait_for_selector("text=Nothing is left")
