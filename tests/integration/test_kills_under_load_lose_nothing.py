"""The service with two workers killed with SIGKILL again and again while studies come in, against a coordinator."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.receipt import Receipt
from shared.signed import Signed
from site_node.home.folder import SiteHome
from site_node.home.ledger import State
from site_node.node.open import open_node
from tests.factories.federation import Federation, running_federation
from tests.factories.films import deliver, film, prepare

WORKERS_AT_ONCE = "from site_node.node import crew; crew.START_SECONDS = crew.IMAGE_SECONDS"  # for the least work
SITE = (sys.executable, "-c", f"{WORKERS_AT_ONCE}; from site_node.cli import main; main()")
KILLS, SOAKED = 8, 20  # of one service
FILMS = 3  # new ones for each life of the service: more than its workers
LONGEST = 1.2  # seconds from `ready` to the kill: enough for a life's films
LATEST = 60.0  # seconds that a busy machine may need until a study is under way
AT_REST = {State.RECEIVED, State.SUBMITTED}


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running_federation(tmp_path_factory.mktemp("federation")) as running:
        running.curator()
        yield running


def states_of(home: SiteHome) -> set[State]:
    """The states in which studies are."""
    with open_node(home, writing=False) as node:
        return {entry.state for entry in node.ledger.studies()}


def live_and_die(home: SiteHome, log: Path, seconds: float, *, under_way: bool) -> None:
    """Run the service until `seconds` after it is ready, or until a study is `under_way`, then kill it."""
    with (
        log.open("ab") as lines,
        subprocess.Popen(
            [*SITE, "--home", str(home.folder), "run", "--no-federation"], stdout=subprocess.PIPE, stderr=lines
        ) as process,
    ):
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            latest = time.monotonic() + (LATEST if under_way else seconds)
            while time.monotonic() < latest and not (under_way and states_of(home) - AT_REST):
                time.sleep(0.02)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("seed", "kills"), [(0, KILLS), *(pytest.param(seed, SOAKED, marks=pytest.mark.soak) for seed in range(1, 26))]
)
def test_each_study_has_one_receipt_and_each_patient_one_number(federation: Federation, seed: int, kills: int) -> None:
    """After kills at drawn moments and one undisturbed run; with the soak they are more than 500."""
    home, member = federation.site(f"Hospital {seed}")
    patients = [f"P{number}" for number in range(kills * FILMS)]
    prepare(home, patients, workers=2)
    moments, log = random.Random(seed), home.folder.with_suffix(".log")
    caught = set[State]()
    for life in range(kills):
        deliver(home, *(film(home, patient, rows=512) for patient in patients[life * FILMS : (life + 1) * FILMS]))
        live_and_die(home, log, moments.uniform(0, LONGEST), under_way=life % 4 == 0)
        caught |= states_of(home)
    subprocess.run([*SITE, "--home", str(home.folder), "run", "--once", "--no-federation"], check=True)
    with open_node(home) as node:
        studies = node.ledger.studies()
        numbers = [row.number for row in node.ledger.patients.all()]
    assert [study.state for study in studies] == [State.SUBMITTED] * len(patients)
    assert sorted(numbers) == list(range(1, len(patients) + 1))
    with federation.reading() as reading:
        rows = reading.submissions(member.site_id)
    assert sorted(row.sequence for row in rows) == list(range(1, len(patients) + 1))
    assert {row.study for row in rows} == {study.study for study in studies}
    for study in studies:
        signed = Signed.model_validate_json((home.receipts / (study.receipt or "")).read_bytes())
        assert signed.verified(member.coordinator_key, Receipt, what="receipt").study == study.study
    assert len(list(home.receipts.iterdir())) == len(list(home.library.iterdir())) == len(patients)
    assert [*home.outbox.iterdir(), *home.spool.iterdir()] == []
    said = log.read_text()
    assert "internal-error" not in said
    # A worker whose owner is killed while it starts finds its pipe at an end; Python says so, and nothing is lost.
    defects = [part for part in said.split("Traceback")[1:] if not ("spawn_main" in part and "EOFError" in part)]
    assert not defects, defects[0][:4000]
    assert caught - AT_REST, "no kill came while a study was under way"
