"""A hospital signs in the browser, fetches from its PACS there, and a person answers for what leaves by a question."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
from playwright.sync_api import Browser

from coordinator.cohort.released import ReleasedTable
from coordinator.research.federation import Federation as Opened
from coordinator.research.plans import Statistics
from coordinator.research.run import Run
from shared.errors.federation import RunFailed
from shared.ids import SiteId
from shared.proto.ricord.v1 import federation_pb2
from shared.proto.ricord.v1.federation_pb2_grpc import FederationServiceStub
from site_node.federate.policy import POLICY_FILE, write_default_policy
from site_node.home.folder import SiteHome, init_home
from site_node.membership.enrolment import enrol
from tests.factories.chromium import Watched, chromium
from tests.factories.consoles import PASSPHRASE
from tests.factories.dicom import make_dx
from tests.factories.federation import Federation, make_federation
from tests.factories.pacs import Orthanc, orthanc
from tests.factories.ports import free_port
from tests.factories.programs import process
from tests.factories.site_homes import fill_library

NAMES = ("North Hospital", "South Hospital", "West Hospital")
SOON = 60.0  # seconds

pytestmark = pytest.mark.slow


class Hospital:
    """A new home with a console, a PACS, and a policy by which a person approves every question."""

    def __init__(self, folder: Path, name: str, pacs: Orthanc) -> None:
        self.home: SiteHome = init_home(folder, name=name)
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        write_default_policy(self.home.folder / POLICY_FILE)
        policy = self.home.folder / POLICY_FILE
        policy.write_text(policy.read_text().replace('ask = "never"', 'ask = "always"'))
        settings = self.home.settings_file.read_text().partition("# [scp]")[0]
        self.home.settings_file.write_text(
            settings.replace("pixel_check = true", "pixel_check = false").replace(
                "poll_seconds = 10.0", "poll_seconds = 0.2"
            )
            + f'[console]\nport = {port}\n[pacs]\nhost = "127.0.0.1"\nport = {pacs.dicom}\nae_title = "PACS"\n'
            'method = "get"\nretry_seconds = 0.2\nanswer_seconds = 5.0\n'
        )

    def link(self, role: str) -> str:
        """The link by which a new person of that role joins."""
        command = ("console", "invite", "--name", f"Dr. {role.title()}", "--role", role)
        program = (sys.executable, "-m", "site_node.cli", "--home", str(self.home.folder))
        return subprocess.run([*program, *command], check=True, capture_output=True, text=True).stdout.strip()

    def person(self, browser: Browser, role: str) -> Watched:
        """A person of that role, signed in."""
        watched = Watched(browser, self.address)
        watched.join(self.link(role), PASSPHRASE)
        return watched


@contextmanager
def running(hospital: Hospital, *words: str) -> Iterator[None]:
    with process("site_node.cli", hospital.home.folder, *words, ready="ready"):
        yield


def test_from_the_invitation_to_what_left(tmp_path: Path) -> None:
    """The signature, the list for the PACS and both decisions are made at pages, while the node runs."""
    federation = make_federation(tmp_path)
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        pacs = stack.enter_context(orthanc(tmp_path / "orthanc"))
        pacs.fill([make_dx(rows=64, study="s1", PatientID="P1", AccessionNumber="A1")], tmp_path)
        stack.enter_context(process("coordinator.cli", federation.home.folder, "serve", ready="ready"))
        federation.curator()
        hospital = Hospital(tmp_path / "north", NAMES[0], pacs)
        signatory = sign(browser, hospital, federation)
        for name in NAMES[1:]:
            home, member = federation.site(name)
            write_default_policy(home.folder / POLICY_FILE)
            fill_library(home.library, SiteId(member.site_id), 24)
            stack.enter_context(process("site_node.cli", home.folder, "run", ready="ready"))
        fill_library(hospital.home.library, enrol(hospital.home, federation.execute(NAMES[0])).site_id, 24)
        stack.enter_context(running(hospital, "run"))
        reviewer, viewer = (hospital.person(browser, role) for role in ("reviewer", "viewer"))
        fetch(reviewer)
        opened = Opened.open(federation.researcher("rita").folder)
        approved, declined = (ask(opened, federation, what) for what in ("approve", "decline"))
        decide(signatory, approved, "approve")
        decide(signatory, declined, "decline")
        table = ReleasedTable.model_validate(approved.watch().result)
        assert (table.site_count, table.counts["studies"]) == (3, 72)
        with pytest.raises(RunFailed, match=r"a person of this site declined it: The board meets\."):
            _ = declined.watch().result
        look(viewer)
        for watched in (reviewer, signatory):
            assert not watched.complaints


def sign(browser: Browser, hospital: Hospital, federation: Federation) -> Watched:
    """By the console alone, before there is a membership: read what is offered, then sign by the name."""
    token = federation.invite(NAMES[0])
    federation.draft(NAMES[0])
    with running(hospital, "console"):
        signatory = Watched(browser, hospital.address)
        signatory.join(hospital.link("signatory"), PASSPHRASE)
        page = signatory.open("/agreement")
        page.fill("#token", token)
        page.click("text=Read it")
        page.wait_for_selector("text=Sign for the hospital")
        assert "Chest imaging of one hospital" in page.content()
        signatory.check("agreement-offered")
        page.fill("#name", "Somebody Else")
        page.fill("#function", "Director")
        page.click("text=Sign for the hospital")
        page.wait_for_selector("text=nothing is signed")
        assert "400" in signatory.complaints.pop()
        page.fill("#name", "Dr. Signatory")
        page.fill("#function", "Director")
        page.click("text=Sign for the hospital")
        page.wait_for_selector("text=The agreement is signed")
        signatory.check("agreement-signed")
    return signatory


def fetch(reviewer: Watched) -> None:
    """The PACS is tried, a list is entered, and the study that it names arrives."""
    page = reviewer.open("/intake")
    page.fill("#accession", "A1")
    page.click("text=Try each service")
    page.wait_for_selector("text=answers")
    reviewer.check("intake-tried")
    page.fill("#numbers", "A1\nA2\n")
    page.click("text=Enter the list")
    page.wait_for_selector("text=2 requests are entered")
    until(lambda: "1 image was announced: 1 arrived" in reviewer.open("/intake").inner_text("main"))
    reviewer.check("intake-fetched")


def ask(opened: Opened, federation: Federation, what: str) -> Run:
    """A question that the operator approved."""
    run = opened.submit(Statistics(aim=f"How many? {what}", timeout_seconds=60))
    with federation.operator() as channel:
        FederationServiceStub(channel).ApproveRun(federation_pb2.ApproveRunRequest(id=run.id))
    return run


def decide(signatory: Watched, run: Run, decision: str) -> None:
    """The signatory reads the plan, and decides on it."""
    plan = f"a[href='/federated/{run.id}']"
    until(lambda: signatory.open("/federated").locator(plan).count() > 0)
    page = signatory.page
    page.locator(plan).first.click()
    signatory.check(f"plan-{decision}")
    assert f"How many? {decision}" in page.inner_text("main")
    page.fill(f"#{decision}-reason", "The board meets.")
    page.click(f"form[action$='/{decision}'] button")
    page.wait_for_selector(f"text=The plan is {decision}d")


def look(viewer: Watched) -> None:
    """A viewer sees every count and what was answered, and no picture, sheet or form that changes anything."""
    for path in ("/", "/agreement", "/federated", "/left", "/audit"):
        page = viewer.open(path)
        assert not re.search(r'<form method="post" action="/(?!sign-out)', page.content())
        viewer.check(f"viewer-{path.strip('/') or 'today'}")
    assert [viewer.page.goto(f"{viewer.address}{path}").status for path in ("/review", "/intake", "/clinical")] == [  # type: ignore[union-attr]
        403
    ] * 3


def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    end = monotonic() + SOON
    while not condition():
        assert monotonic() < end
        sleep(0.3)
