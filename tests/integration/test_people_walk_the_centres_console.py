"""An operator admits a hospital and lets questions go, a researcher asks, an observer watches, all in a browser."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
from playwright.sync_api import Browser

from coordinator.home.settings import CONSOLE_PORT
from coordinator.operator.observer import ObserverHome
from coordinator.research.federation import Federation as Opened
from coordinator.research.plans import Statistics
from shared.ids import SiteId
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import init_home
from site_node.membership.agreement import sign_agreement
from site_node.membership.enrolment import enrol
from site_node.membership.invitation import read_agreement
from tests.factories.centre_consoles import observer_home
from tests.factories.chromium import Watched, chromium
from tests.factories.consoles import PASSPHRASE
from tests.factories.federation import Federation, make_federation
from tests.factories.ports import free_port
from tests.factories.programs import process
from tests.factories.site_homes import fill_library

PAGES = ("/", "/agreements", "/submissions", "/cohorts", "/runs", "/audit")
SOON = 90.0  # seconds

pytestmark = pytest.mark.slow


@contextmanager
def console(browser: Browser, home: Path, role: str) -> Iterator[Watched]:
    """A person of that role at the console of a home, which is a process of its own."""
    name = f"Dr. {role.title()}"
    program = (sys.executable, "-m", "coordinator.cli", "--home", str(home), "console", "invite")
    invite = (*program, "--name", name, "--role", role)
    link = subprocess.run(invite, check=True, capture_output=True, text=True).stdout.strip()
    with process("coordinator.cli", home, "console", ready="ready"):
        watched = Watched(browser, link.partition("/invitation/")[0])
        watched.join(link, PASSPHRASE)
        yield watched


def test_people_walk_the_centres_console(tmp_path: Path) -> None:
    """Every page is fit for everybody, complains of nothing, and asks nobody but this machine."""
    federation = make_federation(tmp_path)
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        stack.enter_context(process("coordinator.cli", federation.home.folder, "serve", ready="ready"))
        federation.curator()
        for name in ("South Hospital", "West Hospital"):
            home, member = federation.site(name)
            begin(stack, home.folder, member.site_id)
        with federation.home.settings_file.open("a") as settings:
            settings.write(f"[console]\nport = {free_port()}\n")
        operator = stack.enter_context(console(browser, federation.home.folder, "operator"))
        admit(operator, federation, stack)
        ask(operator, federation, stack, browser)
        for path in PAGES:
            operator.open(path)
            operator.check(f"centre-{path.strip('/') or 'sites'}")
        operator.open("/audit")
        assert "coordinator/operator (Dr. Operator)" in operator.page.inner_text("main")
        watch(stack, browser, observer_home(federation))
        assert not operator.complaints


def begin(stack: ExitStack, home: Path, site_id: str) -> None:
    """A hospital's node, with images to count."""
    write_default_policy(home / POLICY_FILE)
    fill_library(home / "library", SiteId(site_id), 24)
    stack.enter_context(process("site_node.cli", home, "run", ready="ready"))


def admit(operator: Watched, federation: Federation, stack: ExitStack) -> None:
    """By keyboard alone: the terms are written, and what the hospital signed is countersigned."""
    name = "North Hospital"
    home, token = init_home(federation.folder / "north", name=name), federation.invite(name)
    page = operator.open("/")
    page.locator("a", has_text=name).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Next: ")
    operator.check("centre-site-invited")
    page.locator("a", has_text="Its agreement").focus()
    page.keyboard.press("Enter")
    page.locator("#curator").focus()
    page.keyboard.type("curator")
    for mode in ("statistics", "training", "cohort"):
        page.locator(f"input[value={mode}]").focus()
        page.keyboard.press("Space")
    operator.check("centre-agreement-draft")
    page.locator("button", has_text="Write them").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=The terms are written")
    read_agreement(home, token)
    sign_agreement(home, token, signatory="A. Signatory, Director")
    page.reload()
    page.locator("button", has_text="Countersign it").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Send the hospital this join token")
    operator.check("centre-agreement-executed")
    join = page.locator("pre").first.inner_text()
    begin(stack, home.folder, enrol(home, join.strip()).site_id)


def ask(operator: Watched, federation: Federation, stack: ExitStack, browser: Browser) -> None:
    """A researcher writes a plan at a page; the operator approves it by mouse; both pages renew to its end."""
    home = federation.researcher("rita")
    opened = Opened.open(home.folder)
    until(lambda: opened.offered().sites.get("training") == 3)
    researcher = stack.enter_context(research_console(browser, home.folder))
    researcher.check("research-none")
    page = researcher.open("/plan")
    page.click("text=Sign and propose it")
    page.wait_for_selector("text=says in one sentence what it is for")
    assert "400" in researcher.complaints.pop()
    researcher.check("research-plan-wrong")
    plan = page.input_value("#plan").replace('aim = ""', 'aim = "Is <b>it</b> seen?"')
    page.fill(
        "#plan", plan.replace("local_epochs = 4", "local_epochs = 1").replace("image_size = 64", "image_size = 32")
    )
    page.click("text=Check it")
    page.wait_for_selector("text=The agreements of 3 hospitals cover it")
    researcher.check("research-plan-holds")
    page.click("text=Sign and propose it")
    page.wait_for_selector("text=signed and proposed")
    run = page.url.rpartition("/")[2].partition("?")[0]
    researcher.check("research-run-proposed")
    approve(operator, run)
    page.wait_for_selector(".place.good:text-is('done')", timeout=1000 * SOON)
    researcher.check("research-run-done")
    with page.expect_download() as download:
        page.click("text=The last model")
    assert Path(download.value.path()).stat().st_size > 1000
    page = operator.open(f"/runs/{run}")
    page.wait_for_selector("text=By round")
    operator.check("centre-run-done")
    assert not researcher.complaints
    counted = opened.submit(Statistics(aim="How many?", timeout_seconds=60))
    approve(operator, counted.id)
    operator.page.wait_for_selector(".place.good:text-is('done')", timeout=1000 * SOON)
    page = operator.open(f"/cohorts/{counted.id}")
    operator.check("centre-cohort")
    with page.expect_download() as download:
        page.click("text=this table as CSV")
    assert b"72" in Path(download.value.path()).read_bytes()


def approve(operator: Watched, run: str) -> None:
    page = operator.open("/runs")
    page.click(f"a[href='/runs/{run}']")
    operator.check("centre-run-proposed")
    page.click("text=Approve the run")
    page.wait_for_selector("text=The run is approved")


@contextmanager
def research_console(browser: Browser, home: Path) -> Iterator[Watched]:
    """The researcher's pages, opened by the link that the program prints."""
    program = (sys.executable, "-m", "coordinator.research.cli", "--home", str(home), "console")
    with subprocess.Popen((*program, "--port", str(free_port())), stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        link = serving.stdout.readline().removeprefix("ready: ").strip()
        watched = Watched(browser, link.partition("/invitation/")[0])
        watched.page.goto(link)
        watched.page.click("text=Open the console")
        watched.page.wait_for_selector("text=Sign out")
        try:
            yield watched
        finally:
            serving.terminate()


def watch(stack: ExitStack, browser: Browser, home: ObserverHome) -> None:
    """By a certificate of their own: every page, with scripts and without, and nothing to press but the way out."""
    settings = home.settings_file.read_text()
    home.settings_file.write_text(settings.replace(str(CONSOLE_PORT), str(free_port())))
    viewer = stack.enter_context(console(browser, home.folder, "viewer"))
    for path in PAGES:
        page = viewer.open(path)
        viewer.check(f"observer-{path.strip('/') or 'sites'}")
        assert page.locator("main form").count() == 0
    plain = Watched(browser, viewer.address, scripts=False)
    page = plain.open("/sign-in")
    page.fill("#name", "Dr. Viewer")
    page.fill("#passphrase", PASSPHRASE)
    page.click("main button")
    page.wait_for_selector("text=Sign out")
    for path in PAGES:
        assert plain.open(path).locator("main h1").count() == 1
    assert not plain.complaints


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    end = monotonic() + SOON
    while not condition():
        assert monotonic() < end
        sleep(0.3)
