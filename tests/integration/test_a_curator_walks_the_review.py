"""A curator looks at contact sheets in a browser and confirms studies by keys; what is bad in an image stops them."""

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from coordinator.curation.membership import CuratorHome
from coordinator.curation.opening import list_opened
from coordinator.curation.register.acts import CaseState
from coordinator.curation.register.register import Register
from coordinator.curation.review.console.served import review_served
from coordinator.curation.review.reviewing import Mark, marks_of, note_checks
from coordinator.curation.review.verdict import CheckResult, Verdict
from tests.factories.chromium import Watched, chromium
from tests.factories.dicom import make_ct, write_file
from tests.factories.opened import write_opened
from tests.factories.ports import free_port
from tests.factories.reading import film_of

FINDING = CheckResult(check="screen", verdict=Verdict.REVIEW, code="no-body-part", reason="It names no body part.")

# Send the sheet's form with a field that it does not have, as no page of ours does.
FORGED = """([name, value]) => {
  const form = document.querySelector("form.narrow"), input = document.createElement("input");
  [input.type, input.name, input.value] = ["hidden", name, value];
  form.append(input);
  if (name === "mark") form.submit(); else form.requestSubmit(form.querySelector("button[value=good]"));
}"""

pytestmark = pytest.mark.slow


def slices(folder: Path, count: int) -> dict[str, bytes]:
    files = dict[str, bytes]()
    for number, image in enumerate(make_ct(slices=count, rows=64)):
        buffer = write_file(image, folder / f"{number}.dcm")
        files[f"2.25.30000.{number}"] = io.BytesIO(buffer.read_bytes()).getvalue()
    return files


@contextmanager
def review(folder: Path, browser: Browser) -> Iterator[tuple[Watched, Register, list[str]]]:
    """A film with a finding, a film, and a CT of 20 slices, all checked; who signs in is A. Miller."""
    home = CuratorHome(folder)
    write_opened(home.opened, 1, files={"2.25.20001": film_of(1)})
    write_opened(home.opened, 2, files={"2.25.20002": film_of(2)})
    write_opened(home.opened, 3, modality="CT", files=slices(folder, 20))
    sent = list[str]()
    with closing(Register(home.register)) as register:
        register.follow(list_opened(home.opened), ())
        with register.changing() as change:
            for case in change.cases():
                note_checks(change, case, (FINDING,) if case.number == 1 else ())
        with review_served(home, register, "A. Miller", free_port(), lambda: sent.append("sent")) as link:
            watched = Watched(browser, link.partition("/invitation/")[0])
            watched.page.goto(link)
            watched.page.click("main button")
            watched.page.wait_for_selector("text=Studies to review")
            yield watched, register, sent


def press(page: Page, key: str, until: str) -> None:
    page.wait_for_load_state()  # with its script, which has the keys
    page.keyboard.press(key)
    page.wait_for_selector(f"text={until}")


def test_a_curator_walks_the_review(tmp_path: Path) -> None:
    """By keys: a study with a finding is confirmed once that is allowed, another rejected, a CT marked in part."""
    with chromium() as browser, review(tmp_path, browser) as (curator, register, sent):
        page = curator.page
        curator.check("review-list")
        page.click("text=Look at the next")
        page.wait_for_selector("text=Case 1, sheet 1 of 1")
        curator.check("review-film")
        press(page, "g", "Confirm it")
        curator.check("review-case")
        press(page, "c", "a person must allow no-body-part")
        curator.complaints = [each for each in curator.complaints if "409" not in each]
        page.check("input[name=allow]")
        press(page, "c", "Case 2, sheet 1 of 1")
        press(page, "t", "1 text")
        page.wait_for_load_state()
        page.keyboard.press("r")
        page.keyboard.type("a name in the corner")
        press(page, "Enter", "Case 3, sheet 1 of 1")
        page.click("summary")
        page.locator("input[name=instance]").nth(4).check()
        curator.check("review-ct")
        press(page, "l", "19 good, 1 localizer")
        page.wait_for_load_state()
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("text=Case 3, sheet 1")
        press(page, "g", "20 good")
        press(page, "c", "Nothing waits")
        assert not curator.complaints
        assert len(sent) == 3
        with register.reading() as reading:
            cases = reading.cases()
            assert [case.state for case in cases] == [CaseState.ACCEPTED, CaseState.REJECTED, CaseState.ACCEPTED]
            assert set(marks_of(reading, cases[2]).values()) == {Mark.GOOD}
            acts = [(event.actor, event.action) for event in reading.events() if event.action in {"confirm", "reject"}]
            assert acts == [("curator/A. Miller", act) for act in ("confirm", "reject", "confirm")]
            assert reading.verified().intact


def test_what_no_page_sends_changes_nothing(tmp_path: Path) -> None:
    """An image of another sheet, a mark that is none, a case or sheet that is not there: each is a sentence."""
    with chromium() as browser, review(tmp_path, browser) as (curator, register, _):
        page = curator.page
        for path, status in (
            ("/cases/9", 404),
            ("/cases/x", 404),
            ("/cases/1/sheets/2", 404),
            ("/cases/1/sheets/0", 404),
        ):
            answer = page.goto(curator.address + path)
            assert answer is not None
            assert answer.status == status
        page.goto(f"{curator.address}/cases/1/sheets/1")
        for name, value in (("mark", "odd"), ("instance", "2.25.1")):
            page.goto(f"{curator.address}/cases/1/sheets/1")
            page.evaluate(FORGED, [name, value])
            page.wait_for_selector("text=Not done")
        with register.reading() as reading:
            assert not marks_of(reading, reading.cases()[0])
