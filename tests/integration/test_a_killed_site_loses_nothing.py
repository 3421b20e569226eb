"""The site node killed with SIGKILL at any moment, against a running coordinator."""

import csv
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors.base import ExitCode
from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.membership.record import Membership
from tests.factories.dicom import make_ct, make_dx, write_file
from tests.factories.federation import Federation, running_federation
from tests.peers import check_no_defect

COMMAND = (sys.executable, "-c", "from site_node.cli import main; main()")
FILLED, ELIGIBLE = 7, 5  # studies in the inbox, and how many of them should arrive


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


def site(home: SiteHome, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in its own process, so that it can be killed."""
    return subprocess.Popen(
        [*COMMAND, "--home", str(home.folder), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=120)
    check_no_defect(out + err)
    return process.returncode, out or err


def fill(home: SiteHome) -> None:
    """Put an export into the inbox: three CTs and two films that are eligible, a child's film, one without a row."""
    export = home.folder / "inbox" / "export"
    for study in range(3):
        folder = export / f"ct{study}"
        folder.mkdir(parents=True)
        for number, dataset in enumerate(
            make_ct(slices=8, rows=64, study=f"ct{study}", thickness=1.0, PatientID=f"P{study}")
        ):
            write_file(dataset, folder / f"{number}.dcm")
    for study in range(2):
        write_file(make_dx(study=f"dx{study}", PatientID=f"Q{study}"), export / f"dx{study}.dcm")
    write_file(
        make_dx(study="child", PatientID="CHILD", PatientBirthDate="20150101", PatientAge="009Y"), export / "c.dcm"
    )
    write_file(make_dx(study="alone", PatientID="ALONE"), export / "alone.dcm")
    with (home.folder / "clinical.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["mrn", "covid_status", "covid_method", "covid_timing", "age", "sex"])
        for patient in ("P0", "P1", "P2", "Q0", "Q1", "CHILD"):
            rows.writerow([patient, "positive", "rt-pcr", "", "", ""])


def configure(home: SiteHome, before: str, after: str) -> None:
    """Change one line of the settings."""
    text = home.settings_file.read_text()
    assert before in text
    home.settings_file.write_text(text.replace(before, after))


def state_of(federation: Federation, home: SiteHome, member: Membership) -> dict[str, Any]:
    """Everything that must not depend on kills: the site's counts and what the coordinator holds from it."""
    code, shown = finish(site(home, "status", "--json"))
    assert code == 0, shown
    with federation.reading() as reading:
        submissions = reading.submissions(member.site_id)
    status = json.loads(shown)
    del status["site_id"], status["name"]
    del status["federation"]["next"]  # names the folder
    for wait in status["waits"]:
        del wait["since"]
    return {
        "status": status,
        "submissions": len(submissions),
        "receipts": len(list(home.receipts.glob("*.json"))),
        "library": len(list(home.library.iterdir())),
        "outbox": len(list(home.outbox.iterdir())),
    }


def final_state(federation: Federation, name: str, kills: list[float]) -> dict[str, Any]:
    """The state of a site that was killed after each of `kills` seconds, then left to finish."""
    home, member = federation.site(name)
    configure(home, "pixel_check = true", "pixel_check = false")  # loading its models takes seconds
    fill(home)
    code, shown = finish(site(home, "clinical", "import", str(home.folder / "clinical.csv"), "--as", "A. Miller"))
    assert code == 0, shown
    for seconds in kills:
        process = site(home, "run", "--once", "--no-federation")
        time.sleep(seconds)
        process.kill()
        process.communicate()
    code, shown = finish(site(home, "run", "--once", "--no-federation", "--json"))
    assert code == 0, shown
    for path in home.receipts.glob("*.json"):
        receipt = Signed.model_validate_json(path.read_bytes()).verified(
            member.coordinator_key, Receipt, what="receipt"
        )
        assert receipt.site_id == member.site_id
    return state_of(federation, home, member)


@pytest.fixture(scope="module")
def undisturbed(federation: Federation) -> dict[str, Any]:
    """The state of a site that was never killed."""
    return final_state(federation, "Calm Hospital", [])


def test_an_undisturbed_site_submits_exactly_the_eligible_studies(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["submissions"] == undisturbed["receipts"] == undisturbed["library"] == ELIGIBLE, undisturbed
    assert undisturbed["outbox"] == 0
    assert undisturbed["status"]["excluded"]["reasons"] == {"under-age": 1}
    assert undisturbed["status"]["quarantined"]["reasons"] == {"clinical-row-missing": 1}


def test_kills_change_nothing_in_the_end(federation: Federation, undisturbed: dict[str, Any]) -> None:
    """A site killed three times ends with the counts of an undisturbed one, and nothing arrives twice."""
    assert final_state(federation, "Shaken Hospital", moments(1, 3)) == undisturbed


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 42))
def test_many_kills_change_nothing_in_the_end(federation: Federation, undisturbed: dict[str, Any], seed: int) -> None:
    """The same at 400 other moments."""
    assert final_state(federation, f"Hospital {seed}", moments(seed, 10)) == undisturbed


def moments(seed: int, count: int) -> list[float]:
    """Seconds after the start: the process needs most of the first to load, and two or three more for its work."""
    generator = random.Random(seed)
    return [generator.uniform(0.5, 3.0) for _ in range(count)]


def arrived(home: SiteHome) -> int:
    """How many studies are in the ledger."""
    ledger = Ledger(home.ledger)
    try:
        return len(ledger.studies())
    finally:
        ledger.close()


def test_the_service_receives_what_comes_and_stops_in_order(federation: Federation) -> None:
    """`run` says that it is ready, receives what is put into the inbox, and ends with 0 on SIGTERM."""
    home, member = federation.site("Serving Hospital")
    configure(home, "poll_seconds = 10.0", "poll_seconds = 0.1")
    process = site(home, "run", "--no-federation")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        fill(home)
        deadline = time.monotonic() + 60
        while arrived(home) < FILLED and time.monotonic() < deadline:
            time.sleep(0.2)
    finally:
        process.terminate()
    code, _ = finish(process)
    assert code == 0
    assert state_of(federation, home, member)["status"]["received"] == FILLED


def test_a_policy_that_cannot_be_read_stops_the_start(federation: Federation) -> None:
    """It would otherwise look like a policy that allows nothing, and a run would wait for this site in vain."""
    home, _ = federation.site("Mistyping Hospital")
    policy = home.folder / "federation-policy.toml"
    policy.write_text("max_rounds = twenty\n")
    code, error = finish(site(home, "run"))
    assert code == ExitCode.USAGE
    assert str(policy) in error
